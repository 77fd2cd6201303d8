"""One round of NVML readings: a child, and up to two more that leave out what hung or crashed the one before."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from preflight.gpu.snapshot import Snapshot, assemble
from preflight.gpu.watchdog import Ended, run_child
from sync.clock import Clock

# A cold driver without persistence mode takes one to two seconds in nvmlInit; silence for longer is a hang.
QUIET_S = 3.0
LIMIT_S = 8.0
_CHILDREN = 3
_ESSENTIAL = frozenset({"", "start", "library", "nvmlInit", "count", "handle"})  # nothing can be read without these


def device_nodes(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """The device files by which a container can see an NVIDIA GPU: Linux's own, or WSL2's one for all."""
    return tuple(str(path) for path in (*sorted(dev.glob("nvidia[0-9]*")), *dev.glob("dxg")))


def read_snapshot(
    environ: Mapping[str, str], clock: Clock, *, job: str = "readings", stopped: threading.Event | None = None
) -> Snapshot:
    """Everything NVML tells on this node now; takes at most about LIMIT_S, whatever the driver does."""
    facts: list[Mapping[str, object]] = []
    skip: list[str] = []
    ended_badly = ""
    end_s = clock.monotonic() + LIMIT_S
    for _ in range(_CHILDREN):
        left_s = end_s - clock.monotonic()
        if left_s <= 0.2 or (stopped is not None and stopped.is_set()):
            break
        arguments = [f"skip={','.join(skip)}"] if skip else []
        outcome = run_child(
            job, environ, clock, arguments=arguments, limit_s=left_s, quiet_s=min(QUIET_S, left_s), stopped=stopped
        )
        facts += outcome.facts
        if outcome.ended is Ended.DONE:
            if not skip:
                ended_badly = ""
            break
        ended_badly = outcome.why
        if outcome.stage in _ESSENTIAL:
            if outcome.ended is Ended.HUNG:
                break  # a second one would hang too, and the user waits
        else:
            skip.append(outcome.stage)
    return assemble(facts, nodes=device_nodes(), ended_badly=ended_badly)
