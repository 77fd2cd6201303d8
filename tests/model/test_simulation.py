"""Thousands of whole lifetimes of the engine, each from a seed; and the bugs that such lifetimes must find.

A failure prints `SEED=n`; `SEED=n make torture` (or `python -m tests.model.simulation n`) shows its whole trace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.model.simulation.seeded import SEEDED

LIFETIMES = 2000
SHARES = 2  # processes: the machines that run this have two cores
BOUND = 150  # lifetimes within which every seeded bug is found

pytestmark = pytest.mark.timeout(1500)


def start(repository: Path, *arguments: object, hash_seed: int = 0) -> subprocess.Popen[str]:
    """Lifetimes in a process of their own: its hash seed is part of what a seed means."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.model.simulation", *map(str, arguments)],
        cwd=repository,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def summary(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The JSON on its last line; the whole output where there is none."""
    output, _ = process.communicate(timeout=1400)
    last = output.splitlines()[-1] if output else ""
    assert last.startswith("{"), output[-3000:]
    found: dict[str, Any] = json.loads(last)
    return found


def test_thousands_of_lifetimes(repository: Path) -> None:
    """No guarantee is broken, and every kind of trouble really happened."""
    each = LIFETIMES // SHARES
    first = int(os.environ.get("SEED", "1"))
    shares = [start(repository, first + each * share, each, "--json") for share in range(SHARES)]
    results = [summary(process) for process in shares]
    broken = {f"SEED={seed}": why for result in results for seed, why in result["broken"].items()}
    assert broken == {}
    assert sum(result["lifetimes"] for result in results) == LIFETIMES
    faults = {name: sum(result["faults"].get(name, 0) for result in results) for name in results[0]["faults"]}
    for name in ("lost", "unanswered", "late", "slow-down", "cut", "flipped", "partition"):
        assert faults[name] > 10, faults
    for name in ("crash", "vanish", "pause", "takeover", "cut_power", "lose_journal", "lose_folder", "overflow"):
        assert faults[name] > 10, faults
    checked = {name: sum(result["checked"].get(name, 0) for result in results) for name in results[0]["checked"]}
    for law in ("G1", "G3", "G4", "G5", "G6", "G7", "saved", "parked", "restore"):
        assert checked[law] > LIFETIMES // 20, checked


def test_replayed_same_seed_twice_identical_trace(repository: Path) -> None:
    """Also under another order of Python's sets: nothing but the seed decides."""
    runs = [start(repository, 1, 30, "--json", hash_seed=number) for number in (0, 1)]
    first, second = (summary(process) for process in runs)
    assert first["traces"] == second["traces"]
    other = summary(start(repository, 31, 30, "--json"))
    assert other["traces"] != first["traces"]


@pytest.mark.parametrize("bug", sorted(SEEDED))
def test_a_seeded_bug_is_found(repository: Path, bug: str) -> None:
    """And the very same lifetime is sound without it."""
    output, _ = start(repository, 1, BOUND, "--bug", bug).communicate(timeout=1400)
    found = [line for line in output.splitlines() if line.startswith("SEED=")]
    assert found, output[-1000:]
    seed = int(found[0].partition("=")[2].partition(":")[0])
    output, _ = start(repository, seed, "--as-for", bug).communicate(timeout=100)
    assert "1 lifetimes, 0 broken" in output
