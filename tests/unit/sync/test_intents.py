"""A SIGKILL between a request and the journal: what it left in the bucket is our own, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.intents import KEPT_BYTES, MOST_BYTES, Intents
from sync.tree import Doubt
from tests.support.rig import Died, Rig

LARGE = b"x" * (9 * 1024 * 1024)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.write("kept", "kept")
    rig.sync()
    return rig


def killed_after(rig: Rig, verb: str, key: str) -> None:
    """The server carries the request out, and the process dies before it hears of it."""

    def die(at: str) -> None:
        if at == key:
            raise Died

    rig.store.after[verb] = die
    if rig.engine.restored:
        rig.engine.rescan()
    with pytest.raises(Died):
        rig.work()


@pytest.mark.parametrize("name", ["kept", "new", "d/a \n\t\udcff‛ name"])
def test_an_edit_after_a_kill_in_the_middle_of_a_save_is_no_conflict(rig: Rig, name: str) -> None:
    path = rig.write(name, "first words")
    key = "d/a \n\t‛FF‛‛ name" if name.startswith("d/") else name
    killed_after(rig, "put", key)
    assert rig.object(key) == b"first words"
    path.write_text("other words, by another program")
    rig.next_life().work()
    assert rig.object(key) == b"other words, by another program"
    assert rig.objects() == {"kept", key}
    assert rig.status().conflicts == ()


def test_an_edit_after_a_kill_in_the_middle_of_a_large_save_is_no_conflict(rig: Rig) -> None:
    path = rig.write("model.pt", LARGE)
    killed_after(rig, "finish_upload", "model.pt")
    path.write_bytes(b"y" + LARGE)
    rig.next_life().work()
    assert rig.object("model.pt") == b"y" + LARGE
    assert rig.objects() == {"kept", "model.pt"}


def test_an_edit_after_a_kill_in_the_middle_of_a_rename_is_no_conflict(rig: Rig) -> None:
    (rig.data / "kept").rename(rig.data / "moved")
    killed_after(rig, "copy", "kept")
    assert rig.object("moved") == b"kept"
    (rig.data / "moved").write_text("went on")
    rig.write("other", "the folder is not empty")
    rig.next_life().work(until=lambda: rig.engine.is_idle() and not rig.engine.doubts.open)
    assert rig.object("moved") == b"went on"
    assert rig.objects() == {"moved", "other"}


def test_a_delete_after_a_kill_in_the_middle_of_a_save_is_a_delete(rig: Rig) -> None:
    path = rig.write("new", "words")
    killed_after(rig, "put", "new")
    path.unlink()
    rig.next_life().work(until=lambda: rig.engine.is_idle() and not rig.engine.doubts.open)
    assert rig.objects() == {"kept"}
    assert not path.exists()


def test_two_kills_in_two_saves(rig: Rig) -> None:
    """The second life dies before it has looked at what the first one left; the third knows it all the same."""
    path = rig.write("kept", "one")
    killed_after(rig, "put", "kept")
    path.write_text("two, longer")
    rig.next_life()
    killed_after(rig, "list", "")
    rig.next_life().work()
    assert rig.object("kept") == b"two, longer"
    assert rig.objects() == {"kept"}


def test_what_somebody_else_wrote_after_the_kill_is_kept(rig: Rig) -> None:
    path = rig.write("kept", "mine")
    killed_after(rig, "put", "kept")
    rig.foreign("kept", "theirs")
    path.write_text("mine, edited")
    rig.next_life().work()
    assert sorted(rig.object(key) or b"" for key in rig.objects()) == [b"mine, edited", b"theirs"]


def test_an_older_content_that_somebody_put_back_is_theirs(rig: Rig) -> None:
    """This node wrote it once, and the journal knows what followed: to have written it before proves nothing."""
    path = rig.write("kept", "one")
    rig.sync()
    path.write_text("two, longer")
    rig.sync()
    rig.foreign("kept", "one")
    path.write_text("three, which is longer still")
    rig.next_life().work()
    assert sorted(rig.object(key) or b"" for key in rig.objects()) == [b"one", b"three, which is longer still"]


def test_after_a_restart_of_the_machine_nothing_is_ours(rig: Rig) -> None:
    rig.write("kept", "mine")
    killed_after(rig, "put", "kept")
    rig.kernel = "boot 2"
    rig.next_life().work()
    rig.next_life()
    assert rig.engine.doubts.open == {}


def test_a_save_asks_nothing_more_for_it(rig: Rig) -> None:
    before = len(rig.store.log)
    rig.write("kept", "changed")
    rig.sync()
    assert [entry for entry in rig.store.log[before:] if entry[1] == "kept"] == [("put", "kept")]


def doubt(path: str, words: bytes = b"0123456789abcdef") -> Doubt:
    return Doubt(path, 5, words)


def test_answered_records_go_when_there_are_many(tmp_path: Path) -> None:
    where = tmp_path / "x.intents"
    intents = Intents(where)
    while where.stat().st_size <= KEPT_BYTES:
        intents.add(doubt("a" * 1000), "v1")
        intents.end("a" * 1000)
    intents.committed()
    assert where.stat().st_size == 0
    intents.add(doubt("under way"), "v1")
    while where.stat().st_size <= MOST_BYTES:
        intents.add(doubt("a" * 1000), "v1")
    intents.end("a" * 1000)
    intents.committed()
    assert where.stat().st_size < 100
    intents.add(doubt("later"), "")
    intents.close()
    versions = {"under way": "v1", "later": ""}
    assert list(Intents(where).left(lambda path: versions[path])) == [doubt("under way"), doubt("later")]


def test_only_the_newest_without_an_answer_count(tmp_path: Path) -> None:
    where = tmp_path / "x.intents"
    intents = Intents(where)
    words = [bytes([n]) * 16 for n in range(4)]
    for n, over in enumerate(("", "v0", "v1", "v1")):
        intents.add(doubt("a", words[n]), over)
    intents.close()
    assert set(Intents(where).left(lambda path: "v1")) == {doubt("a", words[2]), doubt("a", words[3])}
    assert list(Intents(where).left(lambda path: "v0")) == []


def test_a_torn_record_is_none(tmp_path: Path) -> None:
    where = tmp_path / "x.intents"
    intents = Intents(where)
    intents.add(doubt("wholex"), "v")
    intents.close()
    record = where.read_bytes()
    for cut in range(len(record)):
        where.write_bytes(record + record[:cut])
        assert list(Intents(where).left(lambda path: "v")) == [doubt("wholex")]
        where.write_bytes(record[:cut] + record)
        list(Intents(where).left(lambda path: "v"))


def test_a_place_that_cannot_be_written_stops_no_save(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    intents = Intents(tmp_path / "missing" / "x.intents")
    intents.add(doubt("a"), "")
    intents.clear()
    assert len(caplog.records) == 1
