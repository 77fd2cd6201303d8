"""Writes whose answer never came: what they made is found and known as our own; what the user did since follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sync.doubts import LATE_S
from sync.errors import Transient
from tests.support.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.write("kept", "kept")
    rig.sync()
    return rig


def no_answer(rig: Rig, key: str, verb: str = "put", *, arrives: bool = True) -> None:
    """The next write to `key` is carried out (or is lost), and the store says nothing more until `answer`."""

    def fail(at: str) -> None:
        if at == key:
            for other in ("put", "head", "get", "copy", "delete"):
                rig.store.before[other] = _unreachable
            raise Transient("timeout")

    (rig.store.after if arrives else rig.store.before)[verb] = fail


def _unreachable(key: str) -> None:
    raise Transient("timeout")


def answer(rig: Rig) -> None:
    rig.store.before.clear()
    rig.store.after.clear()


def are_settled(rig: Rig) -> Callable[[], bool]:
    return lambda: rig.engine.is_idle() and not rig.engine.doubts.open


def test_a_doubtful_write_of_a_file_that_was_deleted_since(rig: Rig) -> None:
    """Seed 1000618: its object stayed in the bucket until the next pull."""
    no_answer(rig, "a")
    path = rig.write("a", "mine")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.unlink()
    answer(rig)
    rig.engine.rescan()
    rig.work(until=are_settled(rig))
    assert rig.objects() == {"kept"}
    assert any(key.endswith("/a") for key in rig.objects(ours=True)), "it is in the trash"


def test_a_doubtful_write_that_never_arrived(rig: Rig) -> None:
    no_answer(rig, "a", arrives=False)
    path = rig.write("a", "mine")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.unlink()
    answer(rig)
    rig.engine.rescan()
    before = rig.store.count("head")
    rig.work(until=are_settled(rig))
    rig.rest(3 * LATE_S)
    assert rig.objects() == {"kept"}
    assert rig.store.count("head") - before <= 2


def test_a_doubtful_overwrite_of_a_file_that_was_deleted_since(rig: Rig) -> None:
    """The delete names the version that the lost answer would have named; nothing comes back."""
    no_answer(rig, "kept")
    path = rig.write("kept", "changed")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.unlink()
    rig.write("other", "the folder is not empty")
    answer(rig)
    rig.engine.rescan()
    rig.work(until=are_settled(rig))
    assert rig.objects() == {"other"}
    assert not path.exists()


def test_an_edit_after_a_doubtful_write_is_no_conflict(rig: Rig) -> None:
    no_answer(rig, "a")
    path = rig.write("a", "one")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.write_text("two, which is longer")
    answer(rig)
    rig.engine.rescan()
    rig.work(until=are_settled(rig))
    assert rig.object("a") == b"two, which is longer"
    assert rig.objects() == {"a", "kept"}
    assert rig.status().conflicts == ()


def test_a_doubtful_write_is_remembered_over_a_kill(rig: Rig) -> None:
    no_answer(rig, "a")
    path = rig.write("a", "mine")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.unlink()
    rig.next_life()
    rig.work(until=are_settled(rig))
    assert rig.objects() == {"kept"}
    assert not path.exists()


def test_what_somebody_else_wrote_meanwhile_comes_into_the_folder(rig: Rig) -> None:
    no_answer(rig, "a", arrives=False)
    path = rig.write("a", "mine")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.unlink()
    answer(rig)
    rig.foreign("a", "theirs")
    rig.engine.rescan()
    rig.work(until=lambda: are_settled(rig)() and path.exists())
    assert rig.read("a") == "theirs"
    assert rig.object("a") == b"theirs"


def test_a_doubtful_large_upload_of_a_file_that_was_deleted_since(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write("kept", "kept")
    rig.sync()
    no_answer(rig, "a", "finish_upload")
    path = rig.write("a", b"x" * (9 * 1024 * 1024))
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.doubts.open)
    path.unlink()
    answer(rig)
    rig.engine.rescan()
    rig.work(until=are_settled(rig))
    assert rig.objects() == {"kept"}


def test_nothing_comes_back_from_a_mirror(tmp_path: Path) -> None:
    """Somebody else wrote there what was deleted here: it stays where it is, by name."""
    mirror = Rig(tmp_path, is_mirror=True)
    path = mirror.write("a", "mine")
    mirror.write("b", "b")
    mirror.sync()
    mirror.foreign("a", "theirs")
    path.unlink()
    mirror.sync()
    assert not path.exists()
    assert mirror.object("a") == b"theirs"
    assert "a" in mirror.engine.problems
