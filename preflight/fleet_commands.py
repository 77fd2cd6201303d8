"""`preflight history`, `replay` and `suggest`: what the recorded evidence of all nodes says. They act on nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preflight.errors import BadSettings
from preflight.replay import Replayed, Start

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(add_completion=False)
SOURCES = "Evidence comes from the bucket's ledger, and from this node's state folder."
LIMIT_HELP = "for example 'bucket.upload>=20Mbps'; may be repeated"


@app.command(epilog=SOURCES)
def history(as_json: Annotated[bool, typer.Option("--json", help="one JSON document a line")] = False) -> None:
    """Every recorded start of a node: when, where, verdict and why."""
    raise typer.Exit(_answer(lambda: show_history(os.environ, as_json=as_json)))


@app.command(epilog=SOURCES)
def replay(
    limit: Annotated[list[str], typer.Option(help=LIMIT_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help="the counts as one JSON document")] = False,
) -> None:
    """Judge all recorded evidence again under other limits: how many nodes would they have cost?"""
    raise typer.Exit(_answer(lambda: show_replay(os.environ, limit, as_json=as_json)))


@app.command(epilog=SOURCES)
def suggest(
    checkpoint: Annotated[str, typer.Option(help="size of one checkpoint, for example 2GB")],
    as_json: Annotated[bool, typer.Option("--json", help="the choices as one JSON document")] = False,
) -> None:
    """How often to save a checkpoint of this size, and which upload speed to demand for that."""
    raise typer.Exit(_answer(lambda: show_suggestion(os.environ, checkpoint, as_json=as_json)))


def _answer(show: Callable[[], int]) -> int:
    try:
        return show()
    except BadSettings as bad:
        for problem in bad.problems:
            sys.stderr.write(f"✗ {problem}\n")
        return 2


def recorded(environ: Mapping[str, str]) -> tuple[Start, ...]:
    """All starts on record, oldest first. Raises BadSettings; a bucket that does not answer is said, then left out."""
    from preflight.assessment import setup_from
    from preflight.evidence import local_evidence
    from preflight.examine import open_ledger_store
    from preflight.ledger import Ledger
    from preflight.platforms import detect
    from preflight.replay import starts_from
    from sync.clock import SystemClock
    from sync.errors import SyncError

    setup = setup_from(environ)
    documents: list[Mapping[str, Any]] = list(local_evidence(setup.state_dir))
    if setup.stores:
        platform = detect(environ, SystemClock())
        try:
            store = open_ledger_store(setup)
            try:
                documents += Ledger(store, platform.group, platform.machine()).evidence()
            finally:
                store.close()
        except SyncError as error:
            sys.stderr.write(f"the bucket's ledger could not be read, only this node's evidence is shown: {error}\n")
    return starts_from(documents)


def show_history(environ: Mapping[str, str], *, as_json: bool) -> int:
    """Print the table; 0."""
    from preflight.evidence import report_document

    starts = recorded(environ)
    if as_json:
        for start in starts:
            sys.stdout.write(json.dumps(report_document(start.report)) + "\n")
        return 0
    console = _console()
    if not starts:
        console.print("nothing is recorded yet: `preflight up` and `preflight check` record what they see")
        return 0
    from rich.table import Table
    from rich.text import Text

    from preflight.rendering import VERDICTS

    table = Table(box=None, header_style="bright_black", padding=(0, 1), pad_edge=False)
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("machine", max_width=14, no_wrap=True, overflow="ellipsis")
    table.add_column("verdict", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for start in starts:
        report = start.report
        why = ", ".join(f"{one.name} {one.status.value}" for one in report.findings)
        if report.action.done:
            why = f"handed back for {report.reject_for}"
        table.add_row(
            f"{report.decided_at:%m-%d %H:%M:%S}", report.machine,
            Text(report.verdict.value, style=VERDICTS[report.verdict][0]), f"{report.took_s:.1f} s", why,
        )  # fmt: skip
    console.print(table)
    console.print(f"\n{_summary(starts)}", highlight=False)
    return 0


def _summary(starts: Sequence[Start]) -> str:
    from preflight.replay import by_machine

    verdicts = [start.report.verdict.value for start in starts]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in ("accept", "degraded", "reject") if one in verdicts)
    given = sum(1 for start in starts if start.report.action.done)
    return f"{len(starts)} starts on {len(by_machine(starts))} machines: {counts}; {given} handed back"


def show_replay(environ: Mapping[str, str], limits: Sequence[str], *, as_json: bool) -> int:
    """Print the counts; 0."""
    from preflight.replay import by_machine, limits_from
    from preflight.replay import replay as judge_again

    policy = limits_from(limits)
    replayed = judge_again(recorded(environ), policy)
    machines = by_machine(one.start for one in replayed)
    burned = {one.start.report.machine for one in replayed if one.rejected_for}
    flagged = {one.start.report.machine for one in replayed if one.flagged_for} - burned
    before = {one.start.report.machine for one in replayed if one.start.report.action.done}
    if as_json:
        counts = {"machines": len(machines), "rejected": sorted(burned), "flagged": sorted(flagged)}
        sys.stdout.write(json.dumps({**counts, "handed_back_then": sorted(before)}) + "\n")
        return 0
    console = _console()
    if not machines:
        console.print("nothing is recorded yet, so nothing can be judged again")
        return 0
    share = len(burned) / len(machines)
    console.print(f"under {' and '.join(limits)}:", highlight=False)
    console.print(f"  {len(burned)} of {len(machines)} recorded nodes would have been handed back ({share:.0%})")
    console.print(f"  {len(flagged)} more would have been used with a warning; {len(before)} were handed back then")
    if share < 1:
        more = share / (1 - share)  # rejects before a fit node comes; half of all starts take 10 min
        console.print(
            f"  each start would have cost {more:.2f} reallocations, about {10 * more:.0f} min", highlight=False
        )
    _reasons(console, replayed)
    return 0


def _reasons(console: Console, replayed: Sequence[Replayed]) -> None:
    counts: dict[str, set[str]] = {}
    for one in replayed:
        for name in one.rejected_for:
            counts.setdefault(name, set()).add(one.start.report.machine)
    for name, machines in sorted(counts.items()):
        console.print(f"  {name}: {len(machines)} nodes", highlight=False)


def show_suggestion(environ: Mapping[str, str], checkpoint: str, *, as_json: bool) -> int:
    """Print the choices; 0. Raises BadSettings for a size that is none."""
    import dataclasses

    from preflight.quantity import parse, show
    from preflight.replay import values_of
    from preflight.suggest import DEFAULT_UPLOADS, best, choices, percentile, region_hint

    try:
        size = float(parse(checkpoint, "B"))
    except ValueError as error:
        raise BadSettings([f"--checkpoint: {error}"]) from error
    if size <= 0:
        raise BadSettings([f"--checkpoint: {checkpoint!r} is no size"])
    starts = recorded(environ)
    measured = values_of(starts, "bucket.upload")
    uploads = measured or list(DEFAULT_UPLOADS)
    found, recommended = choices(size, uploads), best(size, uploads)
    if as_json:
        document = {
            "choices": [dataclasses.asdict(one) for one in found],
            "uploads": uploads,
            "measured": bool(measured),
        }
        best_s = recommended.interval_s if recommended else None
        sys.stdout.write(json.dumps({**document, "interval_s": best_s}) + "\n")
        return 0
    console = _console()
    source = f"{len(measured)} nodes of yours" if measured else "typical nodes (none of yours is recorded yet)"
    console.print(
        f"upload of {source}: a tenth below {show(percentile(uploads, 0.1), 'B/s')}, half below "
        f"{show(percentile(uploads, 0.5), 'B/s')}\n",
        highlight=False,
    )  # fmt: skip
    _choices_table(console, found, recommended)
    if recommended:
        console.print(
            f"\nsave every {_span(recommended.interval_s)}: nine of ten nodes upload {show(size, 'B')} in half of that;"
            f"\nan interruption then costs {_span(recommended.lost_per_interruption_s)} of work on average. Demand it"
            f" by\n  PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST={recommended.needed_bytes_per_s * 8 / 1e6:.1f}Mbps",
            highlight=False,
        )
    else:
        console.print(
            "\nno interval up to a day is sound on nine of ten nodes: make the checkpoint smaller", highlight=False
        )
    latencies = values_of(starts, "bucket.latency")
    if latencies and (hint := region_hint(percentile(latencies, 0.5), min(latencies))):
        console.print(f"\n{hint}", highlight=False)
    return 0


def _choices_table(console: Console, found: Sequence[Any], recommended: Any) -> None:
    from rich.table import Table

    from preflight.quantity import show

    table = Table(box=None, header_style="bright_black", padding=(0, 1), pad_edge=False)
    for name in ("", "save every", "needs upload", "nodes that can", "lost per interruption"):
        table.add_column(name, justify="left" if not name else "right")
    for one in found:
        table.add_row(
            "→" if one is recommended else "", _span(one.interval_s), show(one.needed_bytes_per_s, "B/s"),
            f"{one.share_of_nodes:.0%}", _span(one.lost_per_interruption_s),
        )  # fmt: skip
    console.print(table)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout)
