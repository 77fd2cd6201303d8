"""`preflight store …`, `preflight-sync store …`: look at the configured clouds. stdout is data, stderr is log."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sync.clock import SystemClock
from sync.errors import BadSettings
from sync.stores.check import GUARANTEES, Checked, check_stores
from sync.stores.variables import store_configs

EXIT_CODES = "Exit codes: 0 everything needed works · 2 bad settings or no such bucket · 3 no answer · 12 denied."
MARKS = {"works": "✔", "denied": "✘", "unsupported": "–", "ignored": "✘", "broken": "✘", "untried": "?"}

store_app = typer.Typer(name="store", help="Look at the configured clouds.", no_args_is_help=True)


@store_app.callback()
def top() -> None:
    """Look at the configured clouds."""


@store_app.command(epilog=EXIT_CODES)
def check(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Say what works with each configured cloud, what is missing, and the exact fix.

    Writes a few small objects under .preflight/probe/ and removes them.
    """
    try:
        configs = store_configs(os.environ)
    except BadSettings as bad:
        for problem in bad.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(2) from bad
    if not configs:
        print("no bucket is configured: nothing would be saved", file=sys.stderr)
        raise typer.Exit(2)
    results = check_stores(configs, SystemClock())
    if as_json:
        print(json.dumps([result.to_json() for result in results]))
    else:
        console = Console()
        for result in results:
            show(result, console)
    raise typer.Exit(results[0].exit_code or max(result.exit_code for result in results))


def show(result: Checked, console: Console) -> None:
    """One store for people."""
    console.print(f"{result.url}  ({result.role}, {result.provider})", markup=False, soft_wrap=True)
    for warning in result.warnings:
        console.print(f"  warning: {warning}", markup=False, soft_wrap=True)
    if result.capability is None:
        console.print(f"  {result.error}\n  fix: {result.hint}", markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for name in ("", "operation", "what it does", "fix"):
        table.add_column(name, overflow="fold")
    for step in result.capability.steps:
        told = step.outcome.value + (f": {step.why}" if step.why else "")
        table.add_row(MARKS[step.outcome.value], step.name, told, step.fix)
    console.print(table)
    if not result.capability.usable:
        console.print("  nothing can be saved until this is put right", markup=False, soft_wrap=True)
        return
    console.print(f"  guarantee: {GUARANTEES[result.capability.facts.writes]}", markup=False, soft_wrap=True)
    if result.latency_s is not None:
        console.print(f"  a small save takes {result.latency_s * 1000:.0f} ms", markup=False)
