"""Saves are whole: by a reader's eye, after a kill, through links, with modes kept."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from preflight.lab.whole import atomic_writing, temp_path

PART_BYTES = 65536  # larger than the buffer: each goes to the disk by itself
PARTS = 8
# Half of a save, then a question, then the other half: whoever holds the other end decides when it looks or kills.
WRITER = f"""
import sys
from preflight.lab.whole import atomic_writing
n = 0
while True:
    n += 1
    with atomic_writing(sys.argv[1]) as file:
        for part in range({PARTS}):
            file.write(chr(97 + n % 26) * {PART_BYTES})
            if part == {PARTS // 2}:
                print("half", flush=True)
                sys.stdin.readline()
    print("whole", flush=True)
    sys.stdin.readline()
"""


def written(path: Path, text: str) -> None:
    with atomic_writing(path) as file:
        file.write(text)


def test_keeps_the_mode_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text("old")
    path.chmod(0o750)
    written(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert os.listdir(tmp_path) == ["run.sh"]


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    written(tmp_path / "a", "x")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_writes_through_a_chain_of_links(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    real = tmp_path / "deep" / "real"
    real.write_text("old")
    (tmp_path / "middle").symlink_to("deep/real")
    (tmp_path / "link").symlink_to("middle")
    written(tmp_path / "link", "new")
    assert real.read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "middle").is_symlink()


def test_a_dangling_link_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    written(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail() -> None:
        with atomic_writing(path) as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_the_longest_name_still_saves(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    written(path, "x")
    written(path, "y")
    assert path.read_text() == "y"


def test_a_device_is_written_in_place(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    written(tmp_path / "pipe", "through")
    reader.join(5)
    assert got == ["through"]


def test_leftovers_of_killed_saves_are_swept_and_living_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "nb.ipynb"
    old, young = temp_path(path, ".aaaa.saving"), temp_path(path, ".bbbb.saving")
    for leftover in (old, young):
        leftover.write_text("half")
    os.utime(old, (1, 1))
    written(path, "x")
    assert sorted(os.listdir(tmp_path)) == sorted([young.name, "nb.ipynb"])


def test_readers_and_kills_never_see_half_a_file(tmp_path: Path, repository: Path) -> None:
    """The writer stands still in the middle of each save: what a reader sees then, and what a kill leaves, is whole."""
    path = tmp_path / "big"
    whole = PARTS * PART_BYTES
    written(path, "-" * whole)

    def seen() -> str:
        body = path.read_text()
        assert len(body) == whole
        assert len(set(body)) == 1, "torn"
        return body[0]

    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=repository,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdin is not None
        with writer.stdout, writer.stdin:
            for number in range(1, 6):
                before = seen()
                assert writer.stdout.readline() == "half\n"
                assert [name for name in os.listdir(tmp_path) if name.startswith(".~")], "half of it is on the disk"
                assert seen() == before
                writer.stdin.write("\n")
                writer.stdin.flush()
                assert writer.stdout.readline() == "whole\n"
                assert seen() == chr(97 + number % 26)
                writer.stdin.write("\n")
                writer.stdin.flush()
            assert writer.stdout.readline() == "half\n"
            writer.send_signal(signal.SIGKILL)
            writer.wait(60)
        assert seen() == chr(97 + 5)
    assert [name for name in os.listdir(tmp_path) if not name.startswith((".~", "big"))] == []
