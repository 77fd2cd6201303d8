"""Folders in /tmp: cleared by whoever left in order, and by the next start after a kill; never under one who lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from preflight.lodging import Lodging, clear_abandoned


def lodged(folder: Path) -> Lodging:
    folder.mkdir(mode=0o700)
    (folder / "kernel-1.json").write_text("{}")
    return Lodging.take(folder)


def test_who_leaves_takes_everything_along(tmp_path: Path) -> None:
    one = lodged(tmp_path / "lab-1")
    one.leave()
    one.leave()
    assert list(tmp_path.iterdir()) == []


def test_only_what_a_dead_process_left_is_cleared(tmp_path: Path) -> None:
    script = f"""
import os, pathlib, signal
from preflight.lodging import Lodging
folder = pathlib.Path({str(tmp_path)!r}) / "lab-dead"
folder.mkdir()
(folder / "kernel-1.json").write_text("left")
assert Lodging.take(folder).lock is not None
os.kill(os.getpid(), signal.SIGKILL)
"""
    living = lodged(tmp_path / "lab-living")
    (tmp_path / "lab-foreign").mkdir()  # nobody ever locked it: not known to be ours
    (tmp_path / "other").mkdir()
    (tmp_path / "lab-link").symlink_to(tmp_path / "other")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert (tmp_path / "lab-dead" / "kernel-1.json").exists()
    assert clear_abandoned(tmp_path, "lab-") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"lab-living", "lab-foreign", "lab-link", "other"}
    living.leave()


def test_two_with_one_folder(tmp_path: Path) -> None:
    """A second start with the same state folder works in it and leaves it to the first."""
    first = lodged(tmp_path / "lab-1")
    second = Lodging.take(tmp_path / "lab-1")
    assert second.lock is None
    second.leave()
    assert (tmp_path / "lab-1" / "kernel-1.json").exists()
    first.leave()


def test_a_start_after_a_kill_moves_in_again(tmp_path: Path) -> None:
    (tmp_path / "lab-1").mkdir()
    (tmp_path / "lab-1" / ".owner").touch()  # its owner is dead
    again = Lodging.take(tmp_path / "lab-1")
    assert again.lock is not None
    assert clear_abandoned(tmp_path, "lab-") == 0
    again.leave()
