"""The one place that hands a node back. Nothing else in this repository calls `platform.reallocate`.

A GPU that is missing gets one restart on the same node first, which costs nobody a node.

A reallocation costs the node for two days and ten minutes of somebody's time, so it needs: a rejecting report,
the user's consent (`on_reject`), a platform that can, and a token written to the ledger before anything is sent.
"""

from __future__ import annotations

import dataclasses
import logging

from preflight.errors import ImdsError
from preflight.examine import Examined, Setup, open_ledger_store, spent_marker
from preflight.ladder import RESTART, Ladder
from preflight.ledger import Ledger
from preflight.model import Action, Report, Verdict
from preflight.platforms import Platform
from preflight.policy import Decision, decide
from preflight.side_by_side import within
from sync.clock import Clock
from sync.errors import SyncError

LEDGER_S = 10.0  # for five small requests; a token that is granted later than this is spent for nothing
CURED_BY_RESTART = frozenset({"gpu.count"})  # a GPU that the driver does not show may only have been passed on badly
WAIT_S = 120.0  # after the platform agreed: still alive then means that it did not happen
_log = logging.getLogger(__name__)


def hand_back(examined: Examined, setup: Setup, *, platform: Platform, clock: Clock, on_reject: str) -> Report:
    """The report with the action taken. `on_reject` is "reallocate" or "report".

    Exactly one request is sent, and only after its token is in the ledger. Whatever stops it (no token, no
    answer) leaves a degraded report: the node is used and the reason shown. Never raises for the platform's sake.
    """
    report = examined.report
    if report.verdict is not Verdict.REJECT:
        return report
    # Decided again here, on the same findings: a report changed on its way cannot cost a node.
    decision = decide(report.checks, setup.policy, examined.fleet)
    if decision.verdict is not Verdict.REJECT:
        return _kept(report, "deciding again did not confirm the verdict")
    if on_reject != "reallocate":
        return dataclasses.replace(
            report, action=Action("none", decision.reason, "PREFLIGHT_ON_REJECT=report: shown, not acted upon")
        )
    if platform.can_restart and decision.reject_for in CURED_BY_RESTART:
        restarted = _restarted(report, decision, setup, platform)
        if restarted is not None:
            return restarted
    if not platform.can_reallocate:
        return _kept(report, f"platform {platform.name} has no way to ask for another node from inside")
    try:
        decision, why_not = within(LEDGER_S, lambda: _granted(examined, setup, platform))
    except TimeoutError:
        why_not = "the ledger did not answer in time"
    if why_not:
        return _kept(report, why_not)
    _log.warning("handing the node back", extra={"reason": decision.reason})
    try:
        platform.reallocate(decision.reason)
    except ImdsError as error:
        return _kept(report, f"the platform did not take the node back: {error}")
    return dataclasses.replace(
        report,
        action=Action("reallocate", decision.reason, "the platform accepted; waiting to be stopped", done=True),
        trace=(*report.trace, "reallocation requested: accepted by the platform"),
    )


def _restarted(report: Report, decision: Decision, setup: Setup, platform: Platform) -> Report | None:
    """The report when a restart was asked for; None when it was tried before, or cannot be counted or had.

    A restart keeps the node and excludes nothing, so it needs no token: once a machine and check, remembered on its
    disk and, where there is a bucket, in the ledger. When the platform refuses, the next step follows at once.
    """
    check = decision.reject_for
    ladder = Ladder(setup.state_dir, platform.machine())
    if RESTART in ladder.tried(check):
        return None
    try:
        ladder.remember(check, RESTART)
        if not within(LEDGER_S, lambda: _may_restart(check, setup, platform)):
            return None
    except (OSError, TimeoutError, SyncError) as error:
        _log.warning("a restart could not be counted", extra={"why": str(error)})
        return None
    _log.warning("asking for a restart on the same node", extra={"reason": decision.reason})
    try:
        platform.restart()
    except ImdsError as error:
        _log.warning("the platform did not restart", extra={"why": str(error)})
        return None
    return dataclasses.replace(
        report,
        action=Action("restart", decision.reason, "the platform accepted; waiting to be started again", done=True),
        trace=(*report.trace, f"restart requested before another node is: it may bring back what {check} misses"),
    )


def _may_restart(check: str, setup: Setup, platform: Platform) -> bool:
    if not setup.stores or not setup.durable_ledger:
        return True
    store = open_ledger_store(setup)
    try:
        ledger = Ledger(store, platform.group, platform.machine())
        return ledger.claim_step("restarted", check, setup.policy.token_window_s)
    finally:
        store.close()


def resume(report: Report) -> Report:
    """The report of a node that was handed back but is still alive after WAIT_S: used, degraded, not asked again."""
    return _kept(report, f"the platform accepted, but this node was still alive after {WAIT_S:.0f} s")


def _kept(report: Report, why: str) -> Report:
    return dataclasses.replace(
        report,
        verdict=Verdict.DEGRADED,
        action=Action("none", report.reason, f"node kept: {why}"),
        trace=(*report.trace, f"node kept: {why}"),
    )


def _granted(examined: Examined, setup: Setup, platform: Platform) -> tuple[Decision, str]:
    """Write the token. The decision it is for and "" when it is granted, else why not.

    The failure is noted *before* the fleet is read again: of a hundred nodes that fail at the same moment, each
    then sees the others, and the breaker holds them all.
    """
    policy, findings = setup.policy, examined.report.checks
    decision = decide(findings, policy, examined.fleet)
    if not examined.fleet.readable:
        rule = policy.rules.get(decision.reject_for)
        if rule is None or not rule.hard:
            return decision, "without a ledger no reallocation is counted"
        return decision, _spend_local(setup)
    try:
        store = open_ledger_store(setup)
        try:
            ledger = Ledger(store, platform.group, platform.machine())
            ledger.note((), [one.name for one in findings if one.confirmed])
            fleet = ledger.read(ledger.server_now(), policy)
            decision = decide(findings, policy, fleet)
            check = decision.reject_for
            if decision.verdict is not Verdict.REJECT:
                return decision, decision.trace[0].rpartition("node kept: ")[2]
            if fleet.half_open(check, policy) and not ledger.claim_try(check):
                return decision, f"another node already tries whether {check} is still a common fault"
            token = ledger.take_token(check, decision.reason, policy)
        finally:
            store.close()
    except SyncError as error:
        return decision, f"the ledger could not be written ({error.what})"
    if not token:
        hours = policy.token_window_s / 3600
        return decision, f"all {policy.tokens} reallocations of the last {hours:.0f} h are used"
    _log.info("a reallocation token was granted", extra={"token": token})
    return decision, ""


def _spend_local(setup: Setup) -> str:
    """The one reallocation of a container's life without a ledger: only for proven broken hardware."""
    marker = spent_marker(setup.state_dir)
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch(exist_ok=False)
    except FileExistsError:
        return "its one reallocation without a ledger is spent"
    except OSError as error:
        return f"the reallocation could not be recorded ({error.strerror})"
    return ""
