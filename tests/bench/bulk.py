"""Bulk push and pull, every tool in turn, several rounds: ratios hold while the machine's speed drifts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import BULK_TOOLS, OURS, Bucket, Tool
from tests.bench.processes import run
from tests.bench.rows import Cost, Row, median
from tests.bench.save import make_tree

SLOW = {"aws s3 sync"}  # minutes a round, and never the best: once is enough
Results = dict[str, list[Cost]]


def compare(
    work: Path, bucket: Bucket, source: Path, rounds: int, tools: Sequence[Tool] = BULK_TOOLS
) -> tuple[Results, Results]:
    """Push `source` and pull it back with every tool, A B C A B C; each into a fresh prefix and folder."""
    pushes: Results = {tool.name: [] for tool in tools}
    pulls: Results = {tool.name: [] for tool in tools}
    for number in range(rounds):
        for tool in tools:
            if number and tool.name in SLOW:
                continue
            prefix = f"bulk-{source.name}-{number}-{tool.name.replace(' ', '-')}"
            argv, environ = tool.push(source, bucket, prefix)
            pushes[tool.name].append(run(argv, environ))
            shutil.rmtree(f"{source}.state", ignore_errors=True)
            shutil.rmtree(source / ".preflight", ignore_errors=True)
            target = work / "pulled"
            target.mkdir()
            argv, environ = tool.pull(target, bucket, prefix)
            pulls[tool.name].append(run(argv, environ))
            _same(source, target)
            shutil.rmtree(target)
            shutil.rmtree(f"{target}.state", ignore_errors=True)
    return pushes, pulls


def _same(source: Path, target: Path) -> None:
    def sizes(root: Path) -> dict[str, int]:
        return {
            str(Path(home, name).relative_to(root)): Path(home, name).stat().st_size
            for home, _, names in os.walk(root)
            for name in names
            if ".preflight" not in home
        }

    if sizes(source) != sizes(target):
        raise RuntimeError(f"what came back into {target} is not what {source} holds")


def row(label: str, results: Results, goal: float, what: float, unit: str, *, cpu_goal: bool) -> Row:
    """Ours against the fastest peer, by medians; `what` units are moved in each run."""
    mine = median([cost.wall_s for cost in results[OURS.name]])
    others = {name: median([cost.wall_s for cost in costs]) for name, costs in results.items() if name != OURS.name}
    best = min(others, key=lambda name: others[name])
    my_cpu = median([cost.cpu_s for cost in results[OURS.name]])
    peer_cpu = median([cost.cpu_s for cost in results[best]])
    ratio = others[best] / mine
    everyone = ", ".join(f"{name} {what / seconds:,.0f}" for name, seconds in others.items())
    return Row(
        label,
        f">= {goal:g}x the best peer" + (", <= its CPU" if cpu_goal else ""),
        f"{what / mine:,.0f} {unit}, {my_cpu:.1f} CPU s",
        f"{best}: {what / others[best]:,.0f} {unit}, {peer_cpu:.1f} CPU s",
        f"{ratio:.2f}x",
        ratio >= goal and (not cpu_goal or my_cpu <= peer_cpu),
        everyone,
        f"Bulk transfer, {unit}",
        {name: what / seconds for name, seconds in {OURS.name: mine, **others}.items()},
    )


def small_files(work: Path, bucket: Bucket, files: int, rounds: int) -> list[Row]:
    """Files of 4 KiB."""
    source = work / "small"
    make_tree(source, files, 4096)
    pushes, pulls = compare(work, bucket, source, rounds)
    shutil.rmtree(source)
    return [
        row(f"push {files:,} x 4 KiB", pushes, 1.2, files, "files/s", cpu_goal=True),
        row(f"pull {files:,} x 4 KiB", pulls, 1.2, files, "files/s", cpu_goal=True),
    ]


def one_large(work: Path, bucket: Bucket, mib: int, rounds: int) -> list[Row]:
    """One file of random bytes."""
    source = work / "large"
    source.mkdir()
    with (source / "checkpoint.pt").open("wb") as out:
        for _ in range(mib):
            out.write(os.urandom(1 << 20))
    pushes, pulls = compare(work, bucket, source, rounds)
    shutil.rmtree(source)
    return [
        row(f"push {mib} MiB", pushes, 1.0, mib, "MiB/s", cpu_goal=False),
        row(f"pull {mib} MiB", pulls, 1.0, mib, "MiB/s", cpu_goal=False),
    ]
