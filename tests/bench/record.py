"""What was measured, kept beside the page: one measure can be taken again without the half hour of the others."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.peers import PEERS
from tests.bench.rows import Row, markdown
from tests.bench.shortfalls import why

Figures = dict[str, dict[str, object]]
_PLOTTER = Path(__file__).with_name("plot.py")


def line_figure(title: str, unit: str, series: Mapping[str, object]) -> dict[str, object]:
    """Lines against the number of files, a line a tool: tool -> [[files, value], ...]."""
    return {"kind": "lines", "title": title, "xlabel": "files in the folder", "ylabel": unit, "series": series}


def bar_figures(rows: Sequence[Row]) -> Figures:
    """One picture a `figure` that rows name; a group of bars a row."""
    found: Figures = {}
    for name in dict.fromkeys(row.figure for row in rows if row.bars):
        title, _, unit = name.partition(", ")
        groups = {row.measure: dict(row.bars) for row in rows if row.figure == name}
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        found[slug] = {"kind": "bars", "title": title, "ylabel": unit, "groups": groups}
    return found


def keep(target: Path, measure: str, title: str, rows: Sequence[Row], figures: Figures, *, quick: bool) -> None:
    """Replace one measure in the results beside `target`, draw its plots, and write the page again."""
    home = target.with_suffix("")
    home.mkdir(parents=True, exist_ok=True)
    results = home / "results.json"
    known = json.loads(results.read_text()) if results.exists() else {}
    drawn = {**figures, **bar_figures(rows)}
    known[measure] = {
        "title": title,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "form": "short" if quick else "full",
        "rows": [asdict(row) for row in rows],
        "figures": list(drawn),
    }
    results.write_text(json.dumps(known, indent=1) + "\n")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as points:
        json.dump(drawn, points)
        points.flush()
        subprocess.run([PEERS / "python", _PLOTTER, points.name, home], check=True)
    target.write_text(_page(known))


def _page(known: Mapping[str, dict[str, object]]) -> str:
    parts = [
        "# Benchmarks",
        "Written by `make bench`: one SeaweedFS on the same machine for everybody, tools in turn (A B A B), medians, "
        "everything on one machine. Absolute figures move with the machine; read the ratios. `make bench "
        'BENCH_ARGS="--only bulk"` takes one section again.',
    ]
    for part in known.values():
        rows = [why(Row(**row)) for row in part["rows"]]  # type: ignore[attr-defined]
        pictures = [f"![{name}](benchmarks/{name}.svg)" for name in part["figures"]]  # type: ignore[attr-defined]
        when = f"{part['date']}, {part['machine']}, {part['form']} form."
        parts += [f"## {part['title']}", when, markdown(rows).strip(), *pictures]
    return "\n\n".join(parts) + "\n"
