"""The child side of the start-up examination: measure, judge, decide, and hand the node back if so decided.

Standard output carries one JSON object a line to the supervisor; on a terminal the table goes to standard error.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from preflight import logs
from preflight.assessment import assess, setup_from
from preflight.checks import all_checks
from preflight.evidence import finding_document, local_evidence, report_document
from preflight.model import Finding, Report
from preflight.platforms import detect
from sync.clock import SystemClock


def examine_node(environ: Mapping[str, str]) -> int:
    """0 when a report was printed."""
    logs.configure(environ)
    clock = SystemClock()
    setup = setup_from(environ)
    platform = detect(environ, clock)
    on_terminal = sys.stderr.isatty()

    pipe = sys.stdout  # while a line is drawn on the terminal, rich puts something else in its place

    def say(**document: Any) -> None:
        pipe.write(json.dumps(document, default=str) + "\n")
        pipe.flush()

    titles = {check.name: check.title for check in all_checks()}

    def titled(document: Mapping[str, Any]) -> dict[str, Any]:
        return {**document, "title": titles.get(str(document.get("name")), "")}

    def on_finding(finding: Finding) -> None:
        say(finding=titled(finding_document(finding)))

    def assessed(tell: Callable[[Finding], None]) -> Report:
        return assess(setup, platform=platform, clock=clock, rng=random.Random(), on_finding=tell)

    if on_terminal:
        from rich.console import Console

        from preflight.rendering import print_report, waiting

        console = Console(stderr=True)
        with waiting(console, len(setup.checks or ())) as shown:

            def both(finding: Finding) -> None:
                on_finding(finding)
                shown(finding)

            report = assessed(both)
        print_report(report, console)
    else:
        report = assessed(on_finding)
    document = report_document(report)
    fleet = [one.get("fleet") for one in local_evidence(setup.state_dir)][-1:]
    say(
        report={**document, "checks": [titled(one) for one in document["checks"]], "fleet": fleet[0] if fleet else None}
    )
    return 0
