"""A row of the table: what was measured, the goal, ours, the best peer, and the ratio."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `docs/benchmarks.md`. `met` is None where there is no goal.

    `bars` (tool -> value) of rows with the same `figure` become one picture; `figure` names it and its unit.
    """

    measure: str
    goal: str
    ours: str
    peer: str = ""
    ratio: str = ""
    met: bool | None = None
    note: str = ""
    figure: str = ""
    bars: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one finished process and its children: seconds of wall and CPU time, peak resident bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    exit_code: int


def median(values: Sequence[float]) -> float:
    """The middle of the sorted values."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    mark = {True: "yes", False: "**no**", None: ""}
    lines = ["| measure | goal | ours | best peer | ratio | met | note |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {r.measure} | {r.goal} | {r.ours} | {r.peer} | {r.ratio} | {mark[r.met]} | {r.note} |" for r in rows]
    return "\n".join(lines) + "\n"
