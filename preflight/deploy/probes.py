"""Which probe asks what, how patiently, and why: the same numbers for every platform.

A failed startup or liveness probe costs a Salad user the node (it is excluded for up to 48 h), so both are patient:
`/startupz` waits for the verdict, `/livez` depends on nothing but the supervisor. `/readyz` only hides the gateway.
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
    """Succeeds once the verdict is in; a rejected node has asked for another one long before this gives up."""
    period_s = 10
    return Timing("/startupz", period_s, timeout_s=5, failures=max(1, flavour.startup_s // period_s))


def liveness() -> Timing:
    """Six silent answers in a minute: a supervisor that is gone, not a node that is busy."""
    return Timing("/livez", period_s=10, timeout_s=10, failures=6)


def readiness() -> Timing:
    """JupyterLab answers; checked often so that the gateway opens within seconds of the first 200."""
    return Timing("/readyz", period_s=3, timeout_s=3, failures=3)
