"""Private files on the real disk: made durable by name or together, and never made by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.disk import EARLY_BYTES, FEW, DiskFiles
from tests.support.rig import Clock


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_settling_makes_no_file_of_one_that_is_gone(tmp_path: Path, count: int) -> None:
    files = DiskFiles(tmp_path, Clock())
    for number in range(count):
        with files.temp(f"get-{number}") as file:
            file.write(b"content")
    files.discard("get-0")
    files.settle([f"get-{number}" for number in range(count)])
    assert files.temps() == [f"get-{number}" for number in range(1, count)]


def test_large_pieces_are_written_where_they_belong(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path, Clock())
    with files.temp("get") as file:
        file.seek(EARLY_BYTES)
        assert file.write(memoryview(b"b" * EARLY_BYTES)) == EARLY_BYTES
        file.seek(0)
        assert file.write(b"a" * EARLY_BYTES) == EARLY_BYTES
    with files.temp("get", keep=True) as file:
        assert file.read() == b"a" * EARLY_BYTES + b"b" * EARLY_BYTES


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", ["hard link", "symbolic link"])
def test_another_name_of_a_persons_file_is_not_written_into(tmp_path: Path, keep: bool, kind: str) -> None:
    """A tool that joins equal files, or (simulation, seed 9504725) a power cut in the middle of a rename."""
    files = DiskFiles(tmp_path, Clock())
    with files.temp("get") as file:
        file.write(b"words")
    left = tmp_path / ".preflight" / "tmp" / "get"
    if kind == "hard link":
        (tmp_path / "thesis.md").hardlink_to(left)
    else:
        left.rename(tmp_path / "thesis.md")
        left.symlink_to("../../thesis.md")
    with files.temp("get", keep=keep) as file:
        assert file.read() == b""
        file.write(b"other")
    assert (tmp_path / "thesis.md").read_bytes() == b"words"
    assert left.read_bytes() == b"other"
