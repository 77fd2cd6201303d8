"""A Report as people read it on a terminal: one line a check, the reasons below, the verdict last. 80 columns do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from preflight.checks import all_checks
from preflight.model import Finding, Report, Status, Verdict
from preflight.policy import is_noted
from preflight.quantity import show
from preflight.suggest import region_hint

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

MARKS = {
    Status.PASS: ("✓", "green"),
    Status.WARN: ("!", "yellow"),
    Status.FAIL: ("✗", "bold red"),
    Status.UNKNOWN: ("?", "magenta"),
    Status.SKIP: ("·", "bright_black"),
}
GROUPS = {
    "gpu": "GPU",
    "bucket": "Bucket",
    "data": "Data folder and disk",
    "disk": "Data folder and disk",
    "host": "Machine",
    "toolkit": "Machine",
    "sync": "Saving",
    "credentials": "Saving",
    "warmup": "Your warm-up",
    "reference": "For information",
}
VERDICTS = {
    Verdict.ACCEPT: ("green", "this node is fit for your work"),
    Verdict.DEGRADED: ("yellow", "this node can be used; the lines above say what is wrong"),
    Verdict.REJECT: ("bold red", "this node is unfit for your work"),
}


def print_report(report: Report, console: Console) -> None:
    """The whole page: table, what needs attention, verdict, action."""
    console.print()
    for renderable in page(report):
        console.print(renderable, highlight=False)


def print_bucket(capability: Mapping[str, Any], console: Console) -> None:
    """What the bucket's server really does, as the sync child found out; nothing as long as it does not know."""
    from rich.padding import Padding
    from rich.text import Text

    from sync.stores import Writes
    from sync.stores.check import GUARANTEES

    facts = capability.get("facts")
    if not facts:
        return
    console.print(Text("Your bucket", style="bold"))
    for sentence in (GUARANTEES[Writes(facts["writes"])], *capability.get("notes", ())):
        console.print(Padding(Text(sentence), (0, 2, 0, 2)))
    console.print()


@contextmanager
def waiting(console: Console, total: int) -> Iterator[Callable[[Finding], None]]:
    """One line that shows what ended last, only on a terminal and gone afterwards: the table comes then."""
    from rich.text import Text

    done: list[Finding] = []
    with console.status("examining this node …") as shown:

        def tell(finding: Finding) -> None:
            done.append(finding)
            shown.update(Text.assemble(f"{len(done)} of {total} ", line(finding)))

        yield tell


def page(report: Report) -> list[RenderableType]:
    """The parts of the page, top to bottom."""
    from rich.padding import Padding
    from rich.text import Text

    parts: list[Any] = [Text.assemble("Preflight of ", (report.machine, "bold"), f"  ({_place(report)})"), ""]
    parts += [_table(report.checks), *_skipped(report.checks), *_noted(report.checks)]
    for finding in report.findings:
        mark, style = MARKS[finding.status]
        head = Text.assemble((f"{mark} {finding.name}", style), f"  {_signs(finding.why)}")
        blame = f" (blame: {finding.blame.value})" if finding.blame and finding.status is not Status.UNKNOWN else ""
        head.append(blame, style="bright_black")
        parts += ["", Padding(head, (0, 2, 0, 0))]
        if finding.advice:
            parts.append(Padding(Text(f"→ {finding.advice}"), (0, 2, 0, 2)))
        if finding.code:
            parts.append(Padding(Text(f"docs/runbook/{finding.code}.md", style="bright_black"), (0, 2, 0, 2)))
    parts += [Padding(Text(f"→ {hint}", style="bright_black"), (1, 2, 0, 0)) for hint in hints(report)]
    style, sentence = VERDICTS[report.verdict]
    verdict = Text.assemble((f" {report.verdict.value.upper()} ", f"reverse {style}"), f"  {sentence}")
    if report.reject_for:
        verdict.append(f", for {report.reject_for}")
    parts += ["", verdict.append(f" ({report.took_s:.1f} s)", style="bright_black")]
    if report.action.outcome:
        parts.append(Text(f"{report.action.kind}: {report.action.outcome}"))
    return [*parts, ""]


def hints(report: Report) -> list[str]:
    """Plain sentences that are no findings: how far the bucket is."""
    seen = {finding.name: finding.observed for finding in report.checks}
    latency = seen.get("bucket.latency")
    hint = region_hint(latency) if isinstance(latency, float) else ""
    return [hint] if hint else []


def line(finding: Finding) -> Text:
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
    table.add_column("observed", justify="right", overflow="fold", max_width=24)
    table.add_column("needed", overflow="fold", style="bright_black", max_width=16)
    groups: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda one: _order(one.name)):
        if finding.status is not Status.SKIP:
            groups.setdefault(_group(finding.name), []).append(finding)
    for number, (heading, shown) in enumerate(groups.items()):
        if number:
            table.add_row()
        table.add_row("", Text(heading, style="bold"))
        for finding in shown:
            mark, style = MARKS[finding.status]
            loud = "" if finding.status is Status.PASS else style
            table.add_row(
                Text(mark, style=style),
                Text(f" {_title(finding.name)}"),
                Text(_seen(finding), style=loud),
                _signs(finding.required),
            )
    return table


def _skipped(findings: Sequence[Finding]) -> list[RenderableType]:
    """What was not needed: with its reason where that is one for a whole group, else counted."""
    from rich.padding import Padding
    from rich.text import Text

    groups: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda one: _order(one.name)):
        groups.setdefault(_group(finding.name), []).append(finding)
    whole, some = [], []
    for group, members in groups.items():
        skipped = [finding for finding in members if finding.status is Status.SKIP]
        if skipped and len(skipped) == len(members):
            reasons = sorted({finding.why for finding in skipped}, key=[one.why for one in skipped].count)
            whole.append(f"· {group}: not needed, {reasons[-1]}")
        elif skipped:
            some.append(f"{len(skipped)} of {group}")
    if some:
        whole.append(f"· single checks not needed: {', '.join(some)}")
    style = MARKS[Status.SKIP][1]
    return ["", *(Padding(Text(text, style=style), (0, 2, 0, 0)) for text in whole)] if whole else []


def _noted(findings: Sequence[Finding]) -> list[RenderableType]:
    """What breaks a limit that only informs: a line each, because its row shows a mark."""
    from rich.padding import Padding
    from rich.text import Text

    mark, style = MARKS[Status.WARN]
    parts: list[RenderableType] = []
    for finding in findings:
        if is_noted(finding):
            told = Text.assemble((f"{mark} {finding.name}", style), f"  {_signs(finding.why)}")
            told.append(f" → {finding.advice}" if finding.advice else "", style="bright_black")
            parts.append(Padding(told, (0, 2, 0, 0)))
    return ["", *parts] if parts else []


def _seen(finding: Finding) -> str:
    if finding.status is Status.SKIP:
        return "not needed here"
    if finding.observed is None:
        return "failed" if finding.status in (Status.FAIL, Status.WARN) else "not known"
    return show(finding.observed, finding.unit)


def _signs(text: str) -> str:
    return text.replace(">=", "≥").replace("<=", "≤")


def _title(name: str) -> str:
    return {check.name: check.title for check in all_checks()}.get(name, name)


def _group(name: str) -> str:
    return GROUPS.get(name.split(".")[0], "Other")


def _order(name: str) -> int:
    groups = list(GROUPS)
    stem = name.split(".")[0]
    return groups.index(stem) if stem in groups else len(groups)


def _place(report: Report) -> str:
    return "your own machine" if report.platform == "none" else report.platform
