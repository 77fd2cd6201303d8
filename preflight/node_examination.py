"""The child side of the start-up examination: measure, judge, decide, and hand the node back if so decided."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from typing import Any

from preflight import logs
from preflight.examination import as_document
from preflight.model import Finding
from preflight.platforms import detect
from preflight.settings import load
from sync.clock import SystemClock


def examine_node(environ: Mapping[str, str]) -> int:
    """Print findings and the report, one JSON object a line; 0 when a report was printed."""
    from preflight.examine import examine

    logs.configure(environ)
    clock = SystemClock()
    settings = load(environ)
    platform = detect(environ, clock)

    def say(**document: Any) -> None:
        sys.stdout.write(json.dumps(document, default=str) + "\n")
        sys.stdout.flush()

    def on_finding(finding: Finding) -> None:
        say(finding=as_document(finding))

    report = examine(settings, platform=platform, clock=clock, rng=random.Random(), on_finding=on_finding)
    say(report=as_document(report))
    return 0
