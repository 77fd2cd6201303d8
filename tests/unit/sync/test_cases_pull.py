"""The named cases of starting and pulling: what made other tools delete, overwrite or stop."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from sync.errors import Denied, DiskFull, NotFound, Transient
from sync.names import why_unusable
from sync.status import State
from tests.support.rig import Died, Rig
from tests.support.synced import tree_of


def filled(top: Path, count: int = 20) -> Rig:
    """A bucket with `count` objects that another node saved."""
    rig = Rig(top, name="old")
    for number in range(count):
        rig.write(f"d{number % 3}/f{number}.txt", f"content {number}")
    return rig.work()


@pytest.mark.parametrize("after", [0, 1, 7, 19])
def test_pull_killed_midway_then_push(tmp_path: Path, after: int) -> None:
    old = filled(tmp_path)
    before = old.objects()
    rig = Rig(tmp_path, name="new")
    got: list[str] = []

    def die(key: str) -> None:
        if not key.startswith(".preflight"):
            got.append(key)
            if len(got) > after:
                raise Died

    rig.store.before["get"] = die
    with pytest.raises(Died):
        rig.work()
    rig.next_life()
    rig.write("mine.txt", "made between the lives")
    rig.work()
    assert rig.objects() == before | {"mine.txt"}
    assert not rig.objects(ours=True) - {".preflight/lease.json"}
    assert tree_of(old.data).keys() | {"mine.txt"} == tree_of(rig.data).keys()


def test_pull_killed_while_files_take_their_places(tmp_path: Path) -> None:
    old = filled(tmp_path)
    rig = Rig(tmp_path, name="new")
    placed: list[str] = []
    publish = rig.files.publish

    def die(name: str, path: str, **rest: object) -> object:
        if len(placed) == 9:
            raise Died
        placed.append(path)
        return publish(name, path, **rest)  # type: ignore[arg-type]

    rig.files.publish = die  # type: ignore[method-assign, assignment]
    with pytest.raises(Died):
        rig.work()
    rig.next_life().work()
    assert rig.objects() == old.objects()
    assert tree_of(rig.data) == tree_of(old.data)


def test_pull_resume_10gb_after_kill(tmp_path: Path) -> None:
    """By ranges of one part each; a kill costs the range under way (here 40 MB stand for the 10 GB)."""
    body = random.Random(1).randbytes(40 * 1024 * 1024 + 5)
    old = Rig(tmp_path, name="old")
    old.write("big.bin", body)
    old.work()
    rig = Rig(tmp_path, name="new")

    def die(key: str) -> None:
        if rig.store.count("get_range") == 4:
            raise Died

    rig.store.before["get_range"] = die
    with pytest.raises(Died):
        rig.work()
    rig.next_life().work()
    parts = -(-len(body) // rig.store.facts.part_bytes)
    assert rig.store.count("get_range") == parts - 3
    assert (rig.data / "big.bin").read_bytes() == body
    assert rig.files.temps() == []


def test_pull_key_is_both_file_and_prefix(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    # A folder-backed bucket keeps such a pair like any other store.
    rig.foreign("blue", "a file")
    rig.foreign("blue/x", "inside")
    rig.work()
    assert rig.read("blue/x") == "inside"
    assert rig.object("blue") == b"a file"
    assert "blue" in {str(p["path"]) for p in rig.status().problems}
    rig.sync()
    assert rig.objects() == {"blue", "blue/x"}


BAD_KEYS = ["../escape", "a/../../b", "/root", "a//b", "./a", "nul\0byte", "a/" + "n" * 256, "x/./y", "..", "//"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_pull_key_with_dotdot_or_leading_slash_or_nul_or_double_slash(key: str) -> None:
    assert why_unusable(key)


@pytest.mark.parametrize("key", ["a", "a/b", "..a", "a..", "...", "a b ", "‛‛x", "dir/", "\n", "ü", "‛FF"])
def test_ordinary_keys_are_usable(key: str) -> None:
    assert why_unusable(key) == ""


def test_pull_name_too_long_255b(tmp_path: Path) -> None:
    long = "n" * 255
    rig = Rig(tmp_path)
    rig.write(long, "fits")
    rig.work()
    assert rig.objects() == {long}
    assert "255" in why_unusable("n" * 256)
    assert "255" in why_unusable("d/" + "ü" * 128)


def test_pull_directory_markers(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.foreign("foo/", b"")
    rig.work()
    assert (rig.data / "foo").is_dir()
    (rig.data / "foo").rmdir()
    rig.sync().rest(15).work()
    assert rig.objects() == set()


def test_pull_case_collision(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.foreign("Readme.md", "upper")
    rig.foreign("README.md", "all")
    rig.work()
    assert rig.read("Readme.md") == "upper"
    assert rig.read("README.md") == "all"


def test_pull_disk_full(tmp_path: Path) -> None:
    old = filled(tmp_path)
    rig = Rig(tmp_path, name="new")
    temp = rig.files.temp
    room = [5]

    def full(name: str, *, keep: bool = False) -> object:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        return temp(name, keep=keep)

    rig.files.temp = full  # type: ignore[method-assign, assignment]
    rig.rest(60)
    status = rig.status()
    assert status.state is State.FAILED
    assert "full" in status.why
    assert not status.restored
    assert rig.objects() == old.objects()
    room[0] = 10_000
    rig.work()
    assert tree_of(rig.data) == tree_of(old.data)


def test_pull_wrong_credentials(tmp_path: Path) -> None:
    old = filled(tmp_path)
    rig = Rig(tmp_path, name="new")

    def deny(key: str) -> None:
        raise Denied("The credentials are not accepted", where=key, hint="check AWS_SECRET_ACCESS_KEY")

    for verb in ("get", "list", "put", "head"):
        rig.store.before[verb] = deny
    rig.rest(100)
    status = rig.status()
    assert status.state is State.FAILED
    assert "AWS_SECRET_ACCESS_KEY" in status.hint
    assert not status.restored
    rig.store.before.clear()
    rig.work()
    assert tree_of(rig.data) == tree_of(old.data)


def test_pull_empty_prefix_vs_typo_prefix(tmp_path: Path) -> None:
    """A prefix with nothing in it restores nothing and, above all, deletes nothing here."""
    rig = Rig(tmp_path, bucket="typo")
    rig.write("thesis.tex", "words")
    rig.work()
    assert rig.read("thesis.tex") == "words"
    assert rig.objects() == {"thesis.tex"}


def test_a_bucket_that_lost_everything_deletes_nothing_here(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    for key in rig.objects():
        rig.store.inner.delete(key)
    rig.next_life().work()
    assert len(tree_of(rig.data)) == 20 + 3
    assert len(rig.objects()) == 20  # saved again


def test_pull_403_on_head_missing(tmp_path: Path) -> None:
    """A policy that hides absence: nothing on the ordinary way needs a HEAD."""
    old = filled(tmp_path)
    rig = Rig(tmp_path, name="new")

    def deny(key: str) -> None:
        raise Denied("HEAD is not allowed", where=key)

    rig.store.before["head"] = deny
    rig.work()
    rig.write("new.txt", "new")
    (rig.data / "d0" / "f0.txt").write_text("edited")
    rig.sync()
    assert rig.object("new.txt") == b"new"
    assert rig.object("d0/f0.txt") == b"edited"
    assert old.objects() <= rig.objects()


def test_pull_local_nonempty_dir(tmp_path: Path) -> None:
    """The image ships examples/: equal content is adopted, other content is kept beside the bucket's."""
    old = Rig(tmp_path, name="old")
    old.write("examples/same.ipynb", "{}")
    old.write("examples/edited.ipynb", '{"mine": 1}')
    old.work()
    rig = Rig(tmp_path, name="new")
    rig.write("examples/same.ipynb", "{}")
    rig.write("examples/edited.ipynb", '{"shipped": 1}')
    rig.write("examples/only-here.ipynb", '{"x": 1}')
    rig.work()
    assert rig.read("examples/edited.ipynb") == '{"mine": 1}'
    copies = [k for k in rig.objects() if "conflict" in k]
    assert len(copies) == 1
    assert rig.object(copies[0]) == b'{"shipped": 1}'
    assert rig.store.count("get") == 1  # the equal one was not fetched
    assert rig.objects() == {f"examples/{n}.ipynb" for n in ("same", "edited", "only-here")} | set(copies)


def test_pull_local_copy_of_an_object_whose_md5_nobody_tells(tmp_path: Path) -> None:
    """Put into the bucket by hand, or in parts: equal content is recognised by fetching it, and kept once."""
    rig = Rig(tmp_path)
    (rig.bucket / "work").mkdir(parents=True)
    (rig.bucket / "work" / "a.txt").write_text("the same")
    (rig.bucket / "work" / "b.txt").write_text("theirs")
    rig.write("work/a.txt", "the same")
    rig.write("work/b.txt", "mine!!")
    rig.work()
    copies = [k for k in rig.objects() if "conflict" in k]
    assert len(copies) == 1
    assert rig.object(copies[0]) == b"mine!!"
    assert rig.objects() == {"work/a.txt", "work/b.txt", *copies}
    assert rig.read("work/b.txt") == "theirs"
    assert rig.files.temps() == []


def test_list_truncated_error_page_500(tmp_path: Path) -> None:
    """A listing that breaks off says nothing: no file goes, here or there."""
    rig = filled(tmp_path)
    rig.next_life()
    real = rig.store.inner.list

    class Broken:
        def __init__(self) -> None:
            self.left = 3

        def __call__(self, prefix: str = "") -> object:
            for number, info in enumerate(real(prefix)):
                if number == 5 and self.left:
                    self.left -= 1
                    raise Transient("500 in the middle of the listing")
                yield info

    rig.store.inner.list = Broken()  # type: ignore[method-assign, assignment]
    rig.work()
    rig.store.inner.list = real  # type: ignore[method-assign]
    assert len(rig.objects()) == 20
    assert len(list(rig.data.rglob("*.txt"))) == 20


def test_list_unordered(tmp_path: Path) -> None:
    old = filled(tmp_path)
    old.write("d0-sibling/x", "1")
    old.write("d0.txt", "2")
    old.sync()
    rig = Rig(tmp_path, name="new")
    real = rig.store.inner.list

    def shuffled(prefix: str = "") -> object:
        found = list(real(prefix))
        random.Random(3).shuffle(found)
        return iter(found)

    rig.store.inner.list = shuffled  # type: ignore[method-assign, assignment]
    rig.work()
    assert tree_of(rig.data) == tree_of(old.data)


def test_pull_archived_storage_class_object(tmp_path: Path) -> None:
    """One object that cannot be read (GLACIER answers 403) keeps nobody from the others."""
    old = filled(tmp_path)
    rig = Rig(tmp_path, name="new")

    def archived(key: str) -> None:
        if key == "d1/f1.txt":
            raise Denied("InvalidObjectState: the object is archived", where=key, hint="restore it from the archive")

    rig.store.before["get"] = archived
    rig.work(until=lambda: rig.engine.restored, at_most_s=2000)
    assert len(list(rig.data.rglob("*.txt"))) == 19
    assert "d1/f1.txt" in {str(p["path"]) for p in rig.status().problems}
    rig.sync()
    assert rig.objects() == old.objects()


def test_state_db_lost(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    (rig.data / "d0" / "f0.txt").write_text("an edit that only this folder has")
    rig.journal.close()
    for tail in ("", "-wal", "-shm"):
        Path(f"{rig.journal_path}{tail}").unlink(missing_ok=True)
    rig._boot()
    rig.work()
    assert rig.store.count("get") <= 1 + 2
    contents = {rig.object(k) for k in rig.objects() if k.startswith("d0/f0")}
    assert contents == {b"content 0", b"an edit that only this folder has"}
    assert len(rig.objects()) == 21


def test_state_db_corrupt(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    rig.journal.close()
    for tail in ("-wal", "-shm"):
        Path(f"{rig.journal_path}{tail}").unlink(missing_ok=True)
    raw = bytearray(rig.journal_path.read_bytes())
    raw[100:4000] = os.urandom(3900)
    rig.journal_path.write_bytes(raw)
    rig._boot()
    rig.work()
    assert len(rig.objects()) == 20
    assert Path(f"{rig.journal_path}.damaged").exists()


def test_foreign_writer_uploads_via_console(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    rig.foreign("from-console.csv", "1,2")
    rig.write("unrelated", "x")
    rig.sync()
    assert rig.object("from-console.csv") == b"1,2"
    rig.engine.wants_pull = True
    rig.work(until=lambda: not rig.engine.wants_pull and rig.engine.restore is None)
    assert rig.read("from-console.csv") == "1,2"


def test_pull_1m_objects_memory(tmp_path: Path) -> None:
    """The listing is staged on disk: the engine holds no tree (here 20,000 objects, and what they cost each)."""
    import tracemalloc

    from sync.restoring import list_all
    from sync.stores import ObjectInfo
    from sync.work import Listed

    rig = Rig(tmp_path)
    rig.work()

    def many(prefix: str = "") -> object:
        return (ObjectInfo(f"dir{n % 200}/file-{n:07d}.bin", 10, f'"{n:032x}"', 1.0) for n in range(20_000))

    rig.store.inner.list = many  # type: ignore[method-assign, assignment]
    rig.journal.begin_listing()
    tracemalloc.start()
    last = list_all(rig.store, lambda piece: rig.journal.stage(piece.objects))  # type: ignore[union-attr]
    assert isinstance(last, Listed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 20_000 < 150  # bytes an object: 1,000,000 of them stay below 150 MB


def test_disk_full_and_not_found_are_errors_of_ours() -> None:
    assert DiskFull("x").exit_code == 3
    assert NotFound("x").exit_code == 1


def test_an_edit_during_a_pull_beats_a_delete_in_the_bucket(tmp_path: Path) -> None:
    """Seed 3002797: what was edited after it had been compared went to the folder's own trash."""
    rig = Rig(tmp_path)
    rig.write("edited", "one")
    rig.write("left", "as it was")
    rig.sync()
    rig.store.inner.delete("edited")
    rig.store.inner.delete("left")
    rig.foreign("new", "takes a while to come")
    rig.store.before["get"] = lambda key: rig.write("edited", "two, during the pull") and None
    rig.engine.wants_pull = True
    rig.work(until=lambda: not rig.engine.wants_pull and rig.engine.restore is None and rig.engine.is_idle())
    assert rig.read("edited") == "two, during the pull"
    assert rig.object("edited") == b"two, during the pull"
    assert rig.objects() == {"edited", "new"}
    assert not (rig.data / "left").exists()
