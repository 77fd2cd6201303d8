"""The short form of the torture: each scenario once, on real processes. `SEED=n` chooses another course of events."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.torture.scenarios import bad_network, burst, disk_full, kill_loop, zombie

SEED = int(os.environ.get("SEED", "1"))
pytestmark = pytest.mark.timeout(300)


def test_kill_loop(tmp_path: Path) -> None:
    assert kill_loop(tmp_path, SEED, kills=4)["kills"] == 4


def test_zombie_paused_resumes(tmp_path: Path) -> None:
    zombie(tmp_path, SEED)


def test_disk_full(tmp_path: Path) -> None:
    disk_full(tmp_path, SEED)


def test_burst(tmp_path: Path) -> None:
    burst(tmp_path, SEED, files=5000)


def test_bad_network(tmp_path: Path) -> None:
    bad_network(tmp_path, SEED, troubles=4)
