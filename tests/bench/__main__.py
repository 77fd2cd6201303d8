"""`make bench`: the same work for us and for the tools people use today, on one server, in one run.

Prints the table and writes `docs/benchmarks.md` with its plots. Everything stays on this machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import bulk, images, lab, node, scale, shaped, verdicts
from tests.bench.peers import Bucket
from tests.bench.record import Figures, keep, line_figure
from tests.bench.rows import Row, markdown
from tests.bench.save import Saves, loop_saves, ours_saves
from tests.bench.session import day
from tests.support.seaweed import seaweed


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
            ours[size] = ours_saves(self.work, self.bucket, size, OUR_SAVES)
            loop[size] = loop_saves(self.work, self.bucket, size, _loop_count(size))
        mine, theirs = ours[20_000], loop[20_000]
        per_save = {kind: round(count / OUR_SAVES, 2) for kind, count in mine.requests.items()}
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
        pairs = {"ours": (ours, lambda _: OUR_SAVES), "start.sh loop": (loop, _loop_count)}
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
        pairs: dict[str, tuple[dict[int, Saves], Callable[[int], int]]],
        value: Callable[[Saves, int], float],
    ) -> None:
        series = {
            tool: [[size, value(saves, count(size))] for size, saves in by_size.items() if saves.latencies_s]
            for tool, (by_size, count) in pairs.items()
        }
        self.figures[name] = line_figure(title, unit, {tool: points for tool, points in series.items() if points})

    def bulk(self) -> None:
        """Push and pull."""
        rounds = 2 if self.quick else 3
        self.add(*bulk.small_files(self.work, self.bucket, 2_000 if self.quick else 5_000, rounds))
        self.add(*bulk.one_large(self.work, self.bucket, 256, rounds))

    def burst(self) -> None:
        """20,000 new files."""
        self.add(scale.burst(self.work, self.bucket, 5_000 if self.quick else 20_000))

    def idle(self) -> None:
        """Memory and CPU with nobody editing, against the number of files; and the full rescan."""
        sizes = (1_000, 20_000) if self.quick else (1_000, 20_000, 100_000)
        growth = []
        for files in sizes:
            rows, grown = scale.idle(self.work, self.bucket, files, 20 if files < sizes[-1] else 60)
            growth.append(grown)
            self.add(*rows)
        self.add(scale.rescan(self.work, sizes[-1]))
        for name, title, unit, pick in (
            ("memory", "Memory of the sync process; peers: one pass", "MB", lambda one: one.memory_mb),
            ("save-cpu", "CPU to notice and upload one save", "CPU seconds", lambda one: one.save_cpu_s),
        ):
            series = {tool: [[one.files, pick(one)[tool]] for one in growth] for tool in pick(growth[0])}
            self.figures[name] = line_figure(title, unit, series)

    def million(self) -> None:
        """One million files."""
        self.add(*scale.million(self.work, 20 if self.quick else 60, 100_000 if self.quick else 1_000_000))

    def images(self) -> None:
        """Container images."""
        self.add(*images.image_rows(self.bucket, quick=self.quick))

    def shaped(self) -> None:
        """Saves and bulk transfer over slow and far lines."""
        self.add(*shaped.rows(self.work, self.bucket, quick=self.quick))

    def node(self) -> None:
        """JupyterLab's start and the probes."""
        self.add(*node.rows(self.work, self.bucket, quick=self.quick))

    def lab(self) -> None:
        """JupyterLab's start, the page's weight, a fact on the page."""
        self.add(*lab.rows(self.work, self.bucket, quick=self.quick))

    def verdicts(self) -> None:
        """How fast verdicts come, how often they are wrong, and what that would cost a fleet."""
        for row in verdicts.rows(self.work, self.bucket, quick=self.quick):
            self.add(row)


OUR_SAVES = 40


def _loop_count(files: int) -> int:
    """Saves under the start.sh loop: each waits for a whole pass over the tree."""
    return 5 if files <= 20_000 else 2


APART = ("million", "images")  # only when they are asked for: 300 MB of files; images that must be built first
MEASURES = ("save", "bulk", "burst", "idle", "shaped", "node", "lab", "verdicts")


def main() -> int:
    """Run what was asked for; exit code 1 only when a measure could not be taken."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*MEASURES, *APART], help="measure just this")
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
            seen, drawn = len(bench.rows), set(bench.figures)
            measure = getattr(bench, name)
            measure()
            if options.write:
                figures = {key: figure for key, figure in bench.figures.items() if key not in drawn}
                title = (measure.__doc__ or name).partition(".")[0]
                keep(options.write, name, title, bench.rows[seen:], figures, quick=options.quick)
        print("\n" + markdown(bench.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
