"""Mode and time where content is adopted instead of moved: one side counts, and then both sides have the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sync.stores import ObjectInfo
from tests.support.rig import Rig

OLD_NS = 1_700_000_000_123_456_789


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    os.utime(rig.write("run.sh", "echo"), ns=(OLD_NS, OLD_NS))
    return rig.sync()


def meta(rig: Rig, key: str) -> dict[str, str]:
    found: ObjectInfo = rig.store.inner.head(key)
    return {"mode": found.meta["mode"], "mtime": found.meta["mtime"]}


def lose_journal(rig: Rig) -> Rig:
    rig.journal.close()
    for path in rig.journal_path.parent.glob("journal.sqlite*"):
        path.unlink()
    return rig.next_life()


def agree(rig: Rig, tmp_path: Path) -> bool:
    """Whether a machine that knows nothing restores the same looks."""
    other = Rig(tmp_path, name="fresh").work()
    mine, theirs = (rig.data / "run.sh").stat(), (other.data / "run.sh").stat()
    return (mine.st_mode, mine.st_mtime_ns) == (theirs.st_mode, theirs.st_mtime_ns)


def test_chmod_of_an_adopted_file_is_pushed(rig: Rig, tmp_path: Path) -> None:
    """Equal content was adopted and the chmod that was made meanwhile stayed on this node."""
    lose_journal(rig)
    (rig.data / "run.sh").chmod(0o755)  # while this process lives
    rig.work()
    assert meta(rig, "run.sh") == {"mode": "755", "mtime": "1700000000.123456789"}
    assert agree(rig, tmp_path)


def test_a_chmod_between_two_lives_is_pushed(rig: Rig, tmp_path: Path) -> None:
    """Somebody put equal content under another version meanwhile: what the journal knew tells that the mode is ours."""
    found = rig.store.inner.head("run.sh")
    rig.store.inner.put("run.sh", b"else", meta=found.meta)
    rig.store.inner.put("run.sh", b"echo", meta=found.meta)
    (rig.data / "run.sh").chmod(0o700)
    rig.next_life().work()
    assert meta(rig, "run.sh")["mode"] == "700"
    assert agree(rig, tmp_path)


def test_an_older_copy_takes_the_looks_of_the_bucket(rig: Rig, tmp_path: Path) -> None:
    """An image ships the same content: it does not undo what the user had set before."""
    image = Rig(tmp_path, name="image")
    image.write("run.sh", "echo").chmod(0o600)
    image.clock.jumped_s = 60.0  # the process starts a minute after the file was put there
    image.next_life().work()
    here = (image.data / "run.sh").stat()
    assert (here.st_mode & 0o777, here.st_mtime_ns) == (0o644, OLD_NS)
    assert meta(image, "run.sh") == {"mode": "644", "mtime": "1700000000.123456789"}
    assert image.store.count("put") == 0


def test_adopting_what_is_the_same_costs_no_write(rig: Rig) -> None:
    lose_journal(rig).work()
    assert rig.store.count("put") == 0
    assert rig.store.count("get") == 0


def test_a_link_that_says_the_same_is_no_conflict(rig: Rig) -> None:
    (rig.data / "link").symlink_to("run.sh")
    rig.sync()
    lose_journal(rig).work()
    assert rig.objects() == {"run.sh", "link"}
    assert rig.status().conflicts == ()
    assert os.readlink(rig.data / "link") == "run.sh"


def test_an_object_without_looks_gets_those_of_the_file(rig: Rig, tmp_path: Path) -> None:
    rig.foreign("plain.sh", "echo")
    other = Rig(tmp_path, name="other")
    other.write("plain.sh", "echo").chmod(0o755)
    other.work()
    assert meta(other, "plain.sh")["mode"] == "755"


@pytest.mark.parametrize("size", [10, 9 * 1024 * 1024], ids=["small", "large"])
def test_equal_content_that_somebody_put_there_meanwhile_gets_our_looks(rig: Rig, tmp_path: Path, size: int) -> None:
    rig.foreign("same", b"x" * size)
    rig.write("same", b"x" * size).chmod(0o755)
    rig.sync()
    assert meta(rig, "same")["mode"] == "755"
    assert rig.objects() == {"run.sh", "same"}
