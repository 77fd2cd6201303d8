"""The process that talks to the driver, and may die of it. Started by preflight/gpu/watchdog.py, never by hand.

child.py JOB LIMIT_S [NAME=VALUE …]
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Sequence

from preflight.gpu.stages import Story


def main(argv: Sequence[str]) -> int:
    """Does one job and exits 0 with a last line `done`; anything else is the parent's to tell."""
    job, limit_s, *pairs = argv
    options = dict(pair.split("=", 1) for pair in pairs)
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library that prints must not speak into the story
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, float(limit_s) + 1.0)  # dies on time even if the parent did first
    story = Story(private, frozenset(filter(None, options.get("skip", "").split(","))))
    story.tell("start", job=job, pid=os.getpid())
    if job == "readings":
        from preflight.gpu.nvml import read_all

        read_all(story, os.environ)
    elif job == "sample":
        from preflight.gpu.nvml import read_sample

        read_sample(story, os.environ)
    elif job == "work":
        from preflight.gpu.work import work

        work(story, os.environ, ordinal=int(options.get("device", "0")), longer=options.get("longer") == "1")
    else:
        raise SystemExit(f"no such job: {job}")
    story.tell("done")
    return 0
