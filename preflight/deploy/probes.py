"""Which probe asks what, how patiently, and why: the same numbers for every platform.

A failed startup or liveness probe costs a Salad user the node (it is excluded for up to 48 h), so both are patient:
`/startupz` waits for the verdict, `/livez` depends on nothing but the supervisor. `/readyz` only hides the gateway.
docs/probes.md shows the same objects; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from preflight.deploy.flavours import Flavour

PROBE_PORT = 8001


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds and counts of one probe."""

    path: str
    period_s: int
    timeout_s: int
    failures: int
    initial_delay_s: int = 0


def startup(flavour: Flavour) -> Timing:
    """200 once the verdict is in; a node that is handed back never answers 200 and is gone before this gives up."""
    period_s = 10
    return Timing("/startupz", period_s, timeout_s=5, failures=max(1, flavour.startup_s // period_s))


def liveness() -> Timing:
    """Five minutes of silence: a supervisor that is gone, not a node that is busy."""
    return Timing("/livez", period_s=30, timeout_s=10, failures=10)


def readiness() -> Timing:
    """With page=1 our own page is shown until JupyterLab answers: it says what is being checked and restored."""
    return Timing("/readyz?page=1", period_s=10, timeout_s=5, failures=3)
