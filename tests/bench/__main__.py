"""`make bench`: the same work for us and for the tools people use today, on one server, in one run.

Prints the table and writes `docs/benchmarks.md` with its plots. Everything stays on this machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import bulk, node, scale, shaped, verdicts
from tests.bench.peers import PEERS, Bucket
from tests.bench.rows import Row, markdown
from tests.bench.save import Saves, loop_saves, ours_saves
from tests.bench.session import day
from tests.support.seaweed import seaweed

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, dict[str, object]]


class Bench:
    """One run: a server, a work folder, the rows and the figures so far."""

    def __init__(self, bucket: Bucket, work: Path, *, quick: bool) -> None:
        self.bucket = bucket
        self.work = work
        self.quick = quick
        self.rows: list[Row] = []
        self.figures: Figures = {}

    def add(self, *rows: Row) -> None:
        """Keep and print rows as they come."""
        for row in rows:
            verdict = {True: "ok  ", False: "SHORT", None: ""}[row.met]
            print(f"  {row.measure:<46} {row.ours:<34} {row.peer:<40} {row.ratio:<7} {verdict}", flush=True)
        self.rows.extend(rows)

    def save(self) -> None:
        """Latency, requests and dollars of a save against the size of the tree."""
        sizes = (100, 1_000, 20_000) if self.quick else (100, 1_000, 10_000, 20_000, 100_000)
        ours: dict[int, Saves] = {}
        loop: dict[int, Saves] = {}
        for size in sizes:
            ours[size] = ours_saves(self.work, self.bucket, size, 40)
            loop[size] = loop_saves(self.work, self.bucket, size, 5)
        mine, theirs = ours[20_000], loop[20_000]
        per_save = {kind: round(count / 40, 2) for kind, count in mine.requests.items()}
        arrived = f"{min(theirs.latencies_s):.1f}-{max(theirs.latencies_s):.1f} s" if theirs.latencies_s else "none"
        self.add(
            Row(
                "save -> in bucket, 20,000-file tree",
                "p50 <= 0.15 s, p99 <= 0.5 s",
                f"p50 {mine.p(0.5):.3f} s, p99 {mine.p(0.99):.3f} s",
                f"start.sh loop {arrived}, {theirs.lost} of 5 never",
                f"{theirs.p(0.5) / mine.p(0.5):.0f}x",
                mine.lost == 0 and mine.p(0.5) <= 0.15 and mine.p(0.99) <= 0.5,
            ),
            Row(
                "requests a save, 20,000-file tree",
                "1 PUT, 0 LIST, 0 HEAD",
                str(per_save),
                f"start.sh loop {theirs.requests} for 5",
                met=per_save.get("PUT", 0) <= 1.15 and not per_save.get("LIST") and not per_save.get("HEAD"),
                note="lease upkeep goes by time, not by save",
            ),
        )
        pairs = {"ours": (ours, 40), "start.sh loop": (loop, 5)}
        self._lines("save-latency", "Save to bucket, median", "seconds", pairs, lambda s, _: s.p(0.5))
        self._lines(
            "requests", "Requests in an 8 h session", "requests", pairs, lambda s, n: day(s.requests, n).requests
        )
        self._lines(
            "dollars", "Dollars in an 8 h session", "US dollars", pairs, lambda s, n: day(s.requests, n).dollars
        )

    def _lines(
        self,
        name: str,
        title: str,
        unit: str,
        pairs: dict[str, tuple[dict[int, Saves], int]],
        value: Callable[[Saves, int], float],
    ) -> None:
        series = {
            tool: [[size, value(saves, count)] for size, saves in by_size.items() if saves.latencies_s]
            for tool, (by_size, count) in pairs.items()
        }
        self.figures[name] = {
            "kind": "lines",
            "title": title,
            "xlabel": "files in the folder",
            "ylabel": unit,
            "series": {tool: points for tool, points in series.items() if points},
        }

    def bulk(self) -> None:
        """Push and pull."""
        rounds = 2 if self.quick else 3
        self.add(*bulk.small_files(self.work, self.bucket, 2_000 if self.quick else 5_000, rounds))
        self.add(*bulk.one_large(self.work, self.bucket, 256, rounds))

    def burst(self) -> None:
        """20,000 new files."""
        self.add(scale.burst(self.work, self.bucket, 5_000 if self.quick else 20_000))

    def idle(self) -> None:
        """Memory and CPU with nobody editing, and the full rescan."""
        files = 20_000 if self.quick else 100_000
        self.add(*scale.idle(self.work, self.bucket, files, 20 if self.quick else 60))
        self.add(scale.rescan(self.work, files))

    def million(self) -> None:
        """One million files: only when asked for by name (about half an hour)."""
        self.add(*scale.idle(self.work, self.bucket, 1_000_000, 120))

    def shaped(self) -> None:
        """Saves and bulk transfer over slow and far lines."""
        self.add(*shaped.rows(self.work, self.bucket, quick=self.quick))

    def node(self) -> None:
        """The verdict and the probes."""
        self.add(*node.rows(self.work, self.bucket, quick=self.quick))

    def verdicts(self) -> None:
        """How often verdicts are wrong, and what that would cost a fleet."""
        self.add(*verdicts.rows(self.work, self.bucket, quick=self.quick))


MEASURES = ("save", "bulk", "burst", "idle", "shaped", "node", "verdicts")


def write(bench: Bench, target: Path) -> None:
    """`docs/benchmarks.md` and the plots beside it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as results:
        json.dump(bench.figures, results)
        results.flush()
        plots = target.with_suffix("")
        subprocess.run([PEERS / "python", ROOT / "tests/bench/plot.py", results.name, plots], check=True)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    pictures = "\n\n".join(f"![{name}](benchmarks/{name}.svg)" for name in bench.figures)
    target.write_text(
        f"# Benchmarks\n\nWritten by `make bench` on {today}: {machine}; one SeaweedFS on the same machine for "
        "everybody, tools in turn (A B A B), medians. Absolute figures move with the machine; read the ratios.\n\n"
        f"{markdown(bench.rows)}\n{pictures}\n"
    )


def main() -> int:
    """Run what was asked for; exit code 1 only when a measure could not be taken."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*MEASURES, "million"], help="measure just this")
    parser.add_argument("--quick", action="store_true", help="smaller trees and fewer rounds (about 5 minutes)")
    parser.add_argument("--write", type=Path, help="where to write the report", default=None)
    options = parser.parse_args()
    if shutil.which("inotifywait") is None:
        print("the start.sh loop needs inotifywait: apt-get install inotify-tools", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="preflight-bench-") as work,
        seaweed(Path(work, "seaweed")) as server,
    ):
        if not server.creates_bucket("bench"):
            raise RuntimeError("the bucket could not be made")
        bucket = Bucket(server.endpoint, "bench", server.key, server.secret)
        bench = Bench(bucket, Path(work), quick=options.quick)
        for name in options.only or MEASURES:
            print(f"{name}:", flush=True)
            getattr(bench, name)()
        if options.write:
            write(bench, options.write)
        print("\n" + markdown(bench.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
