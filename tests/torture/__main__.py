"""`make torture`: lifetimes and real processes until the time is over; the report goes to docs/torture-report.md.

HOURS=n (default 1): how long. SEED=n: this one lifetime only, with its trace. SEEDS=n: where to begin.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.scenarios import SCENARIOS

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH = 200  # lifetimes a process
REPORT = REPOSITORY / "docs" / "torture-report.md"
FAULTS = {
    "lost": "request lost",
    "unanswered": "request done, answer lost",
    "late": "request done after its sender gave up",
    "slow-down": "503 with Retry-After",
    "cut": "body or listing cut in the middle",
    "slow": "slow request",
    "flipped": "bytes flipped on the way",
    "partition": "request in a partition",
    "one way": "delete done, in a minute without answers",
    "crash": "SIGKILL at a random operation",
    "vanish": "node gone with its disk",
    "pause": "node stopped, up to an hour",
    "takeover": "second node starts",
    "cut_power": "power cut, unsynced content torn",
    "lose_journal": "state folder lost",
    "lose_folder": "data folder lost or remounted empty",
    "jump": "wall clock jumps, up to a day",
    "deafen": "watcher deaf without notice",
    "overflow": "watcher's queue overflows",
    "empty_folder": "rm -rf * in the folder",
    "write_while_read": "a write into a file that is being read",
    "one_way": "deletes are not answered for a minute, and the file comes back",
    "flush_in_a_save": "two saves in one tick of the clock, during a flush",
}


@dataclass
class Tally:
    """What was done and what was broken."""

    lifetimes: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def simulate(first: int, count: int) -> dict[str, Any]:
    """Lifetimes in a process of their own, where the hash seed is fixed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.model.simulation", str(first), str(count), "--json", "--quietly"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {"lifetimes": 0, "broken": {first: done.stderr[-2000:]}, "faults": {}, "checked": {}}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def lifetimes(tally: Tally, first: int, step: int, end_s: float) -> None:
    """One worker of the simulation: batches until the end."""
    for seed in itertools.count(first, step):
        if time.monotonic() > end_s:
            return
        result = simulate(seed, BATCH)
        with tally.lock:
            tally.lifetimes += result["lifetimes"]
            tally.faults.update(result["faults"])
            tally.checked.update(result["checked"])
            for number, why in result["broken"].items():
                tally.broken.append(f"SEED={number}: {why}")
                print(tally.broken[-1], flush=True)


def processes(tally: Tally, first: int, end_s: float) -> None:
    """Scenarios on real processes, one after the other, each with the next seed."""
    for number, name in enumerate(itertools.cycle(SCENARIOS)):
        if time.monotonic() > end_s:
            return
        seed = first + number
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            try:
                tally.deeds.update(SCENARIOS[name](Path(folder), seed))
            except Exception:  # noqa: BLE001 - whatever went wrong is in the report
                with tally.lock:
                    tally.broken.append(f"{name}, seed {seed}:\n{traceback.format_exc()[-3000:]}")
                print(tally.broken[-1], flush=True)
        with tally.lock:
            tally.runs[name] += 1
        print(f"{name}, seed {seed}: done; {tally.lifetimes} lifetimes so far", flush=True)


def report(tally: Tally, took_s: float, first: int) -> str:
    """The report as Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        "# Torture: the last run",
        "",
        "Written by `make torture`; anyone can repeat it. `HOURS=n` says how long; a broken guarantee prints its seed, "
        "and `make torture SEED=n` shows that lifetime step by step. Earlier runs: [torture.md](torture.md).",
        "",
        f"- {time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {took_s / 3600:.2f} hours, seeds from {first}",
        f"- **{tally.lifetimes:,} simulated lifetimes, {sum(tally.runs.values()):,} runs of real processes, "
        f"{len(tally.broken)} violations**",
        f"- {tally.lifetimes / took_s * 3600:,.0f} lifetimes an hour, beside everything else that ran",
        "",
        "| fault (simulation) | times |",
        "|---|---:|",
        *(f"| {text} | {tally.faults[name]:,} |" for name, text in FAULTS.items()),
        "",
        "| guarantee | checks |",
        "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in sorted(tally.checked.items())),
        "",
        "| real processes | runs |",
        "|---|---:|",
        *(f"| {name} | {tally.runs[name]:,} |" for name in SCENARIOS),
        "",
        "What they met: " + ", ".join(f"{name} {count:,}" for name, count in sorted(tally.deeds.items())) + ".",
        "",
    ]
    if tally.broken:
        lines += ["## Violations", "", *(f"    {line}" for text in tally.broken for line in text.splitlines()), ""]
    return "\n".join(lines)


def main() -> int:
    """Exit code 1 when a guarantee was broken."""
    if seed := os.environ.get("SEED"):
        command = [sys.executable, "-m", "tests.model.simulation", seed]
        return subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False
        ).returncode
    first = int(os.environ.get("SEEDS", "1000000"))
    started_s = time.monotonic()
    end_s = started_s + float(os.environ.get("HOURS", "1")) * 3600.0
    tally = Tally()
    width = os.cpu_count() or 2  # the real processes mostly wait
    workers = [
        threading.Thread(target=lifetimes, args=(tally, first + BATCH * n, BATCH * width, end_s)) for n in range(width)
    ]
    for worker in workers:
        worker.start()
    processes(tally, first, end_s)
    for worker in workers:
        worker.join()
    text = report(tally, time.monotonic() - started_s, first)
    REPORT.write_text(text)
    print(text)
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
