"""Judging and deciding, as tables."""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from preflight.model import Blame, Finding, Limit, Measurement, Report, Severity, Status, Verdict
from preflight.policy import Fleet, Policy, Rule, decide, judge, needs_attention, reason_for
from preflight.rendering import print_report

REJECT = Limit(at_least=10.0, severity=Severity.REJECT, blame=Blame.NODE, advice="act")
KNOWN = Fleet(readable=True, why_not="")


def policy(limit: Limit = REJECT, **rule: bool) -> Policy:
    return Policy(rules={"x.y": Rule("x.y", "B/s", limit, **rule)})


def judged(limit: Limit = REJECT, **fields: object) -> Finding:
    seen = Measurement("x.y", "B/s", **{"value": 20.0, **fields})  # type: ignore[arg-type]
    return judge((seen,), policy(limit))[0]


@pytest.mark.parametrize(
    ("limit", "fields", "status", "code"),
    [
        (REJECT, {}, Status.PASS, ""),
        (REJECT, {"value": 9.9}, Status.FAIL, "X-Y-LOW"),
        (REJECT, {"value": 10.0}, Status.PASS, ""),
        (Limit(at_most=5.0, severity=Severity.REJECT), {}, Status.FAIL, "X-Y-HIGH"),
        (dataclasses.replace(REJECT, severity=Severity.WARN), {"value": 1.0}, Status.WARN, "X-Y-LOW"),
        (dataclasses.replace(REJECT, severity=Severity.NOTE), {"value": 1.0}, Status.WARN, "X-Y-LOW"),
        (REJECT, {"value": 9.0, "detail": {"high": 10.5}}, Status.WARN, "X-Y-LOW"),
        (REJECT, {"value": 9.0, "detail": {"high": "unbounded"}}, Status.WARN, "X-Y-LOW"),
        (REJECT, {"value": 9.0, "detail": {"high": 9.5}}, Status.FAIL, "X-Y-LOW"),
        (REJECT, {"value": None, "why_not": "hung"}, Status.UNKNOWN, "X-Y-UNKNOWN"),
        (REJECT, {"value": float("nan")}, Status.UNKNOWN, "X-Y-UNKNOWN"),
        (REJECT, {"value": float("inf")}, Status.UNKNOWN, "X-Y-UNKNOWN"),
        (REJECT, {"value": -1.0}, Status.UNKNOWN, "X-Y-UNKNOWN"),
        (REJECT, {"value": None, "why_not": "none", "skipped": True}, Status.SKIP, ""),
        (REJECT, {"value": None, "why_not": "403", "failed": True}, Status.FAIL, "X-Y-FAILED"),
        (Limit(severity=Severity.NOTE), {"value": None, "why_not": "403", "failed": True}, Status.WARN, "X-Y-FAILED"),
    ],
)
def test_judge(limit: Limit, fields: dict[str, object], status: Status, code: str) -> None:
    finding = judged(limit, **fields)
    assert (finding.status, finding.code) == (status, code)


def test_versions_are_compared_as_versions() -> None:
    limit = Limit(at_least="12.8")
    rules = Policy(rules={"v": Rule("v", "version", limit)})
    statuses = [judge((Measurement("v", "version", text),), rules)[0].status for text in ("12.10", "12.8", "12.4", "?")]
    assert statuses == [Status.PASS, Status.PASS, Status.WARN, Status.PASS]


def test_a_check_that_nobody_knows_only_informs() -> None:
    assert judge((Measurement("new.one", "s", 3.0),), Policy())[0].status is Status.PASS


def test_an_unknown_is_nobodys_fault_and_no_accept() -> None:
    finding = judged(value=None, why_not="the driver hung")
    assert finding.blame is Blame.UNKNOWN
    assert decide((finding,), policy(), KNOWN).verdict is Verdict.DEGRADED


def test_what_breaks_an_informing_limit_is_marked_in_its_row_and_changes_nothing() -> None:
    """65 MB of /dev/shm beside ">= 268 MB" with a tick would contradict itself; with a worse verdict, cry wolf."""
    noted = judged(dataclasses.replace(REJECT, severity=Severity.NOTE), value=1.0)
    decision = decide((noted,), policy(), KNOWN)
    assert (decision.verdict, needs_attention(noted)) == (Verdict.ACCEPT, False)
    report = Report(decision.verdict, "m", "none", datetime.now(UTC), 0.1, (noted,), ())
    print_report(report, Console(file=(paper := io.StringIO()), width=80))
    shown = paper.getvalue()
    (row,) = [line for line in shown.splitlines() if "1 B/s" in line and "≥ 10 B/s" in line and "but" not in line]
    assert row.startswith("!")
    assert "! x.y 1 B/s, but ≥ 10 B/s is needed (for information only) → act" in " ".join(shown.split())
    assert "ACCEPT" in shown


FAILED = dataclasses.replace(judged(value=1.0), confirmed=True)


@pytest.mark.parametrize(
    ("finding", "rules", "fleet", "verdict"),
    [
        (FAILED, policy(), KNOWN, Verdict.REJECT),
        (dataclasses.replace(FAILED, confirmed=False), policy(), KNOWN, Verdict.DEGRADED),
        (dataclasses.replace(FAILED, blame=Blame.ENDPOINT), policy(), KNOWN, Verdict.DEGRADED),
        (dataclasses.replace(FAILED, blame=Blame.ACCOUNT), policy(), KNOWN, Verdict.DEGRADED),
        (dataclasses.replace(FAILED, blame=Blame.IMAGE), policy(), KNOWN, Verdict.DEGRADED),
        (dataclasses.replace(FAILED, severity=Severity.WARN), policy(), KNOWN, Verdict.DEGRADED),
        (dataclasses.replace(FAILED, status=Status.UNKNOWN), policy(), KNOWN, Verdict.DEGRADED),
        (FAILED, policy(), Fleet(readable=False), Verdict.DEGRADED),
        (FAILED, policy(hard=True), Fleet(readable=False), Verdict.REJECT),
        (FAILED, policy(hard=True), Fleet(readable=False, spent_without_ledger=True), Verdict.DEGRADED),
        (FAILED, policy(), Fleet(readable=True, tokens_used=3), Verdict.DEGRADED),
        (FAILED, policy(), Fleet(readable=True, tokens_used=2), Verdict.REJECT),
        (FAILED, policy(), Fleet(readable=True, demoted=frozenset({"x.y"})), Verdict.DEGRADED),
        (FAILED, policy(), Fleet(readable=True, demoted=frozenset({"other"})), Verdict.REJECT),
    ],
)
def test_decide(finding: Finding, rules: Policy, fleet: Fleet, verdict: Verdict) -> None:
    decision = decide((finding,), rules, fleet)
    assert decision.verdict is verdict
    assert bool(decision.reason) == (verdict is Verdict.REJECT)
    assert decision.trace


def test_the_reason_names_check_observed_and_required() -> None:
    reason = reason_for(FAILED)
    assert "x.y" in reason
    assert "observed 1 B/s" in reason
    assert "required >= 10 B/s" in reason
    assert len(reason_for(dataclasses.replace(FAILED, observed="y" * 5000))) == 1000


def test_a_pool_share_bounds_the_tokens() -> None:
    assert Policy(replicas=100).tokens == 300
    assert Policy(replicas=100, pool_size=557).tokens == 27
    assert Policy(replicas=100, pool_size=10).tokens == 3
