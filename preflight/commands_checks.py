"""What `preflight check`, `report`, `history`, `replay` and `suggest` do; `preflight.cli` gives them their flags.

stdout is the answer, stderr is the log and the wait. Exit codes: 0 accept, 10 degraded, 20 reject, 2 bad settings.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from preflight.assessment import assess, setup_from
from preflight.checks import all_checks
from preflight.errors import BadSettings
from preflight.evidence import report_document
from preflight.examine import start_checks
from preflight.last_report import report_path
from preflight.model import Verdict
from preflight.outcomes import served_report
from preflight.platforms import detect
from preflight.rendering import print_bucket, print_report, waiting
from sync.clock import Clock, SystemClock
from sync.status import read_status

EXIT_CODES = {Verdict.ACCEPT: 0, Verdict.DEGRADED: 10, Verdict.REJECT: 20}
BAD_SETTINGS = 2


def check(
    environ: Mapping[str, str],
    *,
    as_json: bool = False,
    only: Sequence[str] = (),
    clock: Clock | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Examine this node and print the report. Acts on nothing: a rejected node is only reported (exit code 20)."""
    from rich.console import Console

    out, err = out or sys.stdout, err or sys.stderr
    clock = clock or SystemClock()
    problems = unknown_names(only)
    if not problems:
        try:
            setup = setup_from(environ, only)
        except BadSettings as bad:
            problems = bad.problems
    if problems:
        return _bad_settings(problems, err)
    platform = detect(environ, clock)
    with waiting(Console(file=err), len(setup.checks or ())) as tell:
        report = assess(setup, platform=platform, clock=clock, rng=random.Random(), on_finding=tell, act=False)
    if as_json:
        out.write(json.dumps(report_document(report), indent=2) + "\n")
    else:
        print_report(report, Console(file=out))
    out.flush()
    return EXIT_CODES[report.verdict]


def report(
    environ: Mapping[str, str], *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None
) -> int:
    """Print the last report that this node made; its verdict's exit code, 1 when there is none."""
    out, err = out or sys.stdout, err or sys.stderr
    path = last_report(environ)
    try:
        document = served_report(json.loads(path.read_text()), read_status(path.parent.parent))
    except (OSError, ValueError):
        err.write(f"there is no report yet ({path}); run `preflight check`\n")
        return 1
    if as_json:
        out.write(json.dumps(document, indent=2) + "\n")
    else:
        from rich.console import Console

        from preflight.replay import report_from

        console = Console(file=out)
        print_report(report_from(document), console)
        print_bucket(document["bucket"], console)
    return EXIT_CODES[Verdict(document["verdict"])]


def last_report(environ: Mapping[str, str]) -> Path:
    """Where the last report is kept."""
    return report_path(Path(environ.get("PREFLIGHT_STATE_DIR") or ".local/state"))


def unknown_names(names: Sequence[str]) -> list[str]:
    """A sentence for every `--only` that names no check, with the nearest that exists."""
    import difflib

    known = [one.name for one in all_checks()]
    problems = []
    for name in names:
        if not start_checks((name,)):
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            problems.append(f"--only: there is no check {name!r}; did you mean {nearest[0]}?" if nearest else name)
    return problems


def _bad_settings(problems: Sequence[str], err: TextIO) -> int:
    for problem in problems:
        err.write(f"✗ {problem}\n")
    return BAD_SETTINGS
