"""From the environment to a verdict and what was done about it: what `up` and `check` both run."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence

from preflight.checks.warmup import COMMAND, TIMEOUT, timeout_s
from preflight.evidence import keep
from preflight.examine import Examined, Setup, examine, start_checks
from preflight.limits import policy_from
from preflight.model import Finding, Report
from preflight.platforms import Platform
from preflight.reallocation import hand_back
from preflight.runner import HARD_CAP_S
from preflight.settings import load
from sync.clock import Clock
from sync.settings import SyncSettings


def setup_from(environ: Mapping[str, str], names: Sequence[str] = ()) -> Setup:
    """What to examine and how, from the environment. Raises preflight.errors.BadSettings with every fault."""
    settings = load(environ)  # first: it collects the faults of every part
    sync = SyncSettings.load(environ)
    return Setup(
        environ=environ,
        policy=policy_from(environ),
        data_dir=settings.data_dir,
        state_dir=settings.state_dir,
        stores=sync.stores,
        checks=start_checks(names),
        warmup_s=warmup_s(environ),
        durable_ledger=not _is_embedded(environ, sync),
    )


def warmup_s(environ: Mapping[str, str]) -> float:
    """What the user's own warm-up command may take each time it is run; 0 without one."""
    return timeout_s(environ.get(TIMEOUT, "")) if environ.get(COMMAND, "").strip() else 0.0


def longest_s(environ: Mapping[str, str]) -> float:
    """Seconds within which `assess` is over, whatever hangs: verdict, ledger, platform, evidence."""
    return HARD_CAP_S + 2 * warmup_s(environ) + 30.0


def on_reject(environ: Mapping[str, str], platform: Platform) -> str:
    """ "reallocate" or "report": what the user wants of a rejected node; by default only Salad's go back."""
    chosen = environ.get("PREFLIGHT_ON_REJECT", "").strip().lower()
    if chosen in ("reallocate", "report"):
        return chosen
    return "reallocate" if platform.can_reallocate else "report"


def assess(
    setup: Setup,
    *,
    platform: Platform,
    clock: Clock,
    rng: random.Random,
    on_finding: Callable[[Finding], None] | None = None,
    act: bool = True,
) -> Report:
    """Examine this node, keep the evidence, and hand the node back when that is decided and `act` allows it."""
    examined = examine(setup, platform=platform, clock=clock, rng=rng, on_finding=on_finding)
    report = examined.report
    if act:
        wish = on_reject(setup.environ, platform)
        report = hand_back(examined, setup, platform=platform, clock=clock, on_reject=wish)
        examined = dataclasses.replace(examined, report=report)
    keep(examined, setup, platform=platform, clock=clock, in_ledger=act)
    return report


def _is_embedded(environ: Mapping[str, str], sync: SyncSettings) -> bool:
    named = environ.get("PREFLIGHT_STORE", "").strip()
    return bool(sync.stores) and sync.stores[0].provider == "file" and not named


__all__ = ["Examined", "assess", "longest_s", "on_reject", "setup_from", "warmup_s"]
