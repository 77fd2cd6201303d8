"""Draw the figures of one run as SVG, in the peers' environment, which has matplotlib: `plot.py RESULTS.json DIR`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "preflight"  # the same figures give the same file
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {
    "ours": "#1f6feb",
    "preflight-sync": "#1f6feb",
    "start.sh loop": "#b35900",
    "s5cmd": "#7a7a7a",
    "rclone": "#a9a9a9",
    "aws s3 sync": "#d0b090",
}


def lines(title: str, xlabel: str, ylabel: str, series: dict[str, list[list[float]]], target: Path) -> None:
    """One line a tool, both axes logarithmic."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, points in series.items():
        xs, ys = zip(*sorted(points), strict=True)
        axes.plot(xs, ys, marker="o", label=name, color=COLOURS.get(name))
        axes.annotate(name, (xs[-1], ys[-1]), textcoords="offset points", xytext=(4, 6), ha="right")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, loc="left")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def bars(title: str, ylabel: str, groups: dict[str, dict[str, float]], target: Path) -> None:
    """One group of bars a measure, one bar a tool."""
    figure, axes = plt.subplots(figsize=(7, 4))
    tools = list(dict.fromkeys(tool for values in groups.values() for tool in values))
    width = 0.8 / len(tools)
    for number, tool in enumerate(tools):
        places = [group + number * width for group in range(len(groups))]
        heights = [values.get(tool, 0.0) for values in groups.values()]
        axes.bar(places, heights, width, label=tool, color=COLOURS.get(tool))
        for place, height in zip(places, heights, strict=True):
            axes.annotate(
                f"{height:,.3g}" if height < 100 else f"{height:,.0f}",
                (place, height),
                ha="center",
                va="bottom",
                fontsize=7,
            )
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(groups))], list(groups))
    axes.set_title(title, loc="left")
    axes.set_ylabel(ylabel)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Read the results and draw every figure that they hold."""
    results = json.loads(Path(sys.argv[1]).read_text())
    home = Path(sys.argv[2])
    home.mkdir(parents=True, exist_ok=True)
    for name, figure in results.items():
        kind = figure.pop("kind")
        (lines if kind == "lines" else bars)(**figure, target=home / f"{name}.svg")


if __name__ == "__main__":
    main()
