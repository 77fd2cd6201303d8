"""A Report as people read it on a terminal: one line a check, the reasons below, the verdict last. 80 columns do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from preflight.checks import all_checks
from preflight.model import Finding, Report, Status, Verdict
from preflight.quantity import show

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MARKS = {
    Status.PASS: ("✓", "green"),
    Status.WARN: ("!", "yellow"),
    Status.FAIL: ("✗", "bold red"),
    Status.UNKNOWN: ("?", "magenta"),
    Status.SKIP: ("·", "bright_black"),
}
GROUPS = {
    "gpu": "GPU", "bucket": "Bucket", "data": "Data folder and disk", "disk": "Data folder and disk", "host": "Machine",
    "image": "Image", "sync": "Saving", "credentials": "Saving", "warmup": "Your warm-up", "reference": "For information",
}  # fmt: skip
VERDICTS = {
    Verdict.ACCEPT: ("green", "accepted: this node is fit for your work"),
    Verdict.DEGRADED: ("yellow", "usable, but read the lines above"),
    Verdict.REJECT: ("bold red", "rejected: this node is unfit"),
}


def print_report(report: Report, console: Console) -> None:
    """The whole page: table, what needs attention, verdict, action."""
    console.print()
    for renderable in page(report):
        console.print(renderable, highlight=False)


def page(report: Report) -> list[RenderableType]:
    """The parts of the page, top to bottom."""
    from rich.padding import Padding
    from rich.text import Text

    parts: list[Any] = [Text.assemble("Preflight of ", (report.machine, "bold"), f"  ({_place(report)})"), ""]
    parts += [_table(report.checks), *_skipped(report.checks)]
    for finding in report.findings:
        mark, style = MARKS[finding.status]
        head = Text.assemble((f"{mark} {finding.name}", style), f"  {finding.why}")
        blame = f" (blame: {finding.blame.value})" if finding.blame and finding.status is not Status.UNKNOWN else ""
        head.append(blame, style="bright_black")
        parts += ["", Padding(head, (0, 2, 0, 0))]
        if finding.advice:
            parts.append(Padding(Text(f"→ {finding.advice}"), (0, 2, 0, 2)))
        if finding.code:
            parts.append(Padding(Text(f"docs/runbook/{finding.code}.md", style="bright_black"), (0, 2, 0, 2)))
    style, sentence = VERDICTS[report.verdict]
    parts += [
        "",
        Text.assemble((report.verdict.value.upper(), f"reverse {style}"), f"  {sentence} ({report.took_s:.1f} s)"),
    ]
    if report.action.outcome:
        parts.append(Text(f"{report.action.kind}: {report.action.outcome}"))
    return [*parts, ""]


def line(finding: Finding) -> RenderableType:
    """One finding as it arrives, while the others still run."""
    from rich.text import Text

    mark, style = MARKS[finding.status]
    return Text.assemble((f" {mark} ", style), f"{_title(finding.name):<34} ", (_seen(finding), style))


def _table(findings: Sequence[Finding]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), show_header=True, header_style="bright_black", pad_edge=False)
    table.add_column("")
    table.add_column("check", no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column("observed", justify="right", overflow="fold", max_width=22)
    table.add_column("needed", overflow="fold", style="bright_black", max_width=16)
    groups: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda one: _order(one.name)):
        groups.setdefault(GROUPS.get(finding.name.split(".")[0], "Other"), []).append(finding)
    for heading, members in groups.items():
        shown = [finding for finding in members if finding.status is not Status.SKIP]
        if shown:
            table.add_row("", Text(heading, style="bold"))
        for finding in shown:
            mark, style = MARKS[finding.status]
            loud = "" if finding.status is Status.PASS else style
            table.add_row(
                Text(mark, style=style),
                Text(f" {_title(finding.name)}"),
                Text(_seen(finding), style=loud),
                finding.required,
            )
    return table


def _skipped(findings: Sequence[Finding]) -> list[RenderableType]:
    """One line for each reason why checks were not needed."""
    from rich.text import Text

    reasons: dict[tuple[str, str], int] = {}
    for finding in findings:
        if finding.status is Status.SKIP:
            group = GROUPS.get(finding.name.split(".")[0], "Other")
            reasons[(group, finding.why)] = reasons.get((group, finding.why), 0) + 1
    style = MARKS[Status.SKIP][1]
    lines = [
        Text(f"· {group}: {count} check{'s' if count > 1 else ''} not needed, {why}", style=style)
        for (group, why), count in reasons.items()
    ]
    return ["", *lines] if lines else []


def _seen(finding: Finding) -> str:
    if finding.status is Status.SKIP:
        return "not needed here"
    if finding.observed is None:
        return "failed" if finding.status in (Status.FAIL, Status.WARN) else "not known"
    return show(finding.observed, finding.unit)


def _title(name: str) -> str:
    return {check.name: check.title for check in all_checks()}.get(name, name)


def _order(name: str) -> int:
    groups = list(GROUPS)
    stem = name.split(".")[0]
    return groups.index(stem) if stem in groups else len(groups)


def _place(report: Report) -> str:
    return "your own machine" if report.platform == "none" else report.platform
