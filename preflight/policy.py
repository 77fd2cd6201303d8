"""Judge and decide. Pure: measurements in, findings and a decision out; no clock, no random, no network.

`judge` compares measurements with limits; `decide` says what the findings mean for this node. The only
function that acts on a decision is `preflight.reallocation.hand_back`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from preflight.model import Blame, Finding, Limit, Measurement, Severity, Status, Verdict
from preflight.quantity import show, version_key

REASON_MAX = 1000  # characters that Salad's API takes


@dataclass(frozen=True, slots=True)
class Rule:
    """One check as the policy sees it."""

    name: str
    unit: str
    limit: Limit
    title: str = ""
    network: bool = False  # without a readable ledger it never reallocates
    hard: bool = False  # proves the hardware itself bad: may go once a container life without a ledger
    from_user: bool = False  # a PREFLIGHT_LIMIT_… variable set it


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules by check name, and how sparing reallocations are."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    replicas: int = 1  # a container cannot see how many siblings it has
    tokens_per_replica: int = 3  # reallocations a replica may ask for within `token_window_s`
    token_window_s: float = 48 * 3600.0  # Salad keeps a handed-back node out of the pool for 48 h
    pool_size: int | None = None  # nodes of the class, if the user knows it; then also <= 5 % of it
    breaker_machines: int = 3  # more distinct machines than this failing one check in a row is a common fault
    breaker_half_open_s: float = 12 * 3600.0

    @property
    def tokens(self) -> int:
        """Reallocations that the whole group may ask for within the window."""
        tokens = self.tokens_per_replica * self.replicas
        if self.pool_size is not None:
            tokens = min(tokens, max(3, self.pool_size * 5 // 100))
        return tokens


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the ledger says, as far as deciding needs it."""

    readable: bool = False
    why_not: str = "no ledger"
    tokens_used: int = 0  # by the group within the window
    machines_failing: Mapping[str, int] = field(default_factory=dict)  # check -> distinct machines since its last pass
    demoted: frozenset[str] = frozenset()  # checks whose breaker is open now (and not due for a half-open try)
    spent_without_ledger: bool = False  # this container already used its one reallocation without a ledger

    def half_open(self, check: str, policy: Policy) -> bool:
        """Whether the check's breaker tripped, but its pause is over: one node may try."""
        return self.machines_failing.get(check, 0) > policy.breaker_machines and check not in self.demoted


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the check that rejects (if any), the reason for the platform, and every step taken."""

    verdict: Verdict
    reject_for: str = ""
    reason: str = ""
    trace: tuple[str, ...] = ()


def judge(measurements: Iterable[Measurement], policy: Policy) -> tuple[Finding, ...]:
    """One finding a measurement, in the same order. Unknown is never fine and never the node's fault."""
    return tuple(_judge_one(measurement, policy.rules.get(measurement.name)) for measurement in measurements)


def _judge_one(seen: Measurement, rule: Rule | None) -> Finding:
    limit = rule.limit if rule else Limit(severity=Severity.NOTE, blame=Blame.UNKNOWN)
    status, suffix, why = _status(seen, limit)
    blame: Blame | None = None
    if status in (Status.WARN, Status.FAIL):
        blame = seen.blame or limit.blame
    elif status is Status.UNKNOWN:
        blame = seen.blame or Blame.UNKNOWN
    stem = seen.name.upper().replace(".", "-").replace("_", "-")
    return Finding(
        name=seen.name,
        status=status,
        blame=blame,
        observed=seen.value,
        required=required(limit, seen.unit),
        unit=seen.unit,
        why=why,
        advice=seen.advice or (limit.advice if status in (Status.WARN, Status.FAIL) else ""),
        took_s=seen.took_s,
        severity=limit.severity,
        code=f"{stem}-{suffix}" if suffix else "",
        detail=seen.detail,
    )


def _status(seen: Measurement, limit: Limit) -> tuple[Status, str, str]:
    """Status, suffix of the finding code, and one sentence."""
    if seen.skipped:
        return Status.SKIP, "", seen.why_not or "not expected here"
    if seen.failed:
        status = Status.WARN if limit.severity is Severity.NOTE else Status.FAIL
        return status, "FAILED", seen.why_not or "it does not work"
    if seen.value is None:
        return Status.UNKNOWN, "UNKNOWN", seen.why_not or "it could not be measured"
    if not _plausible(seen.value, seen.unit):
        return Status.UNKNOWN, "UNKNOWN", f"the reading {seen.value!r} makes no sense"
    broken = _broken_side(seen.value, limit)
    if not broken:
        return Status.PASS, "", ""
    why = f"{show(seen.value, seen.unit)}, but {required(limit, seen.unit)} is needed"
    if limit.severity is Severity.NOTE:
        return Status.WARN, broken, f"{why} (for information only)"
    if limit.severity is Severity.WARN:
        return Status.WARN, broken, why
    if _interval_reaches(seen, limit, broken):
        return Status.WARN, broken, f"{why}; the samples scatter too much to be sure"
    return Status.FAIL, broken, why


def _plausible(value: float | str, unit: str) -> bool:
    if isinstance(value, str):
        return bool(value)
    if not math.isfinite(value):
        return False
    return value >= 0 or unit in ("degC", "s")  # a clock offset may be negative, bytes may not


def _broken_side(value: float | str, limit: Limit) -> str:
    """ "LOW", "HIGH" or "" for a value within its bounds. A value that cannot be compared breaks nothing."""
    try:
        if limit.at_least is not None and _less(value, limit.at_least):
            return "LOW"
        if limit.at_most is not None and _less(limit.at_most, value):
            return "HIGH"
    except ValueError:
        return ""
    return ""


def _less(left: float | str, right: float | str) -> bool:
    if isinstance(left, str) or isinstance(right, str):
        return version_key(str(left)) < version_key(str(right))
    return left < right


def _interval_reaches(seen: Measurement, limit: Limit, broken: str) -> bool:
    """Whether the confidence interval that a check states (detail `low`, `high`) still touches the limit.

    A bound that is there but is no number ("unbounded": too few samples) touches everything.
    """
    side, bound = ("high", limit.at_least) if broken == "LOW" else ("low", limit.at_most)
    reached = seen.detail.get(side)
    if reached is None or bound is None:
        return False
    if not isinstance(reached, int | float):
        return True
    return reached >= float(bound) if broken == "LOW" else reached <= float(bound)


def required(limit: Limit, unit: str) -> str:
    """The limit as people read it: ">= 10 MB/s", "" when there is none."""
    parts = []
    if limit.at_least is not None:
        parts.append(f">= {show(limit.at_least, unit)}")
    if limit.at_most is not None:
        parts.append(f"<= {show(limit.at_most, unit)}")
    return " and ".join(parts)


def may_reject(finding: Finding) -> bool:
    """Whether this finding could cost the node, if a second measurement agrees and a token is granted."""
    return finding.status is Status.FAIL and finding.blame is Blame.NODE and finding.severity is Severity.REJECT


def is_noted(finding: Finding) -> bool:
    """Whether it is under or over a limit that only informs: shown as a warning in its row, and no more."""
    return finding.status is Status.WARN and finding.severity is Severity.NOTE and finding.observed is not None


def needs_attention(finding: Finding) -> bool:
    """Warn, fail, and an unknown that should have been known; not what is only noted."""
    if finding.status in (Status.WARN, Status.FAIL):
        return not is_noted(finding)
    return finding.status is Status.UNKNOWN and finding.severity is not Severity.NOTE


def decide(findings: Sequence[Finding], policy: Policy, fleet: Fleet) -> Decision:
    """reject <=> fail, blame node, policy says reject, confirmed, and a token is left for it; else degraded or accept.

    The token itself is taken later, by `hand_back`, and may still be refused: then nothing happens to the node.
    """
    trace: list[str] = []
    rejecting: Finding | None = None
    for finding in findings:
        if not needs_attention(finding):
            continue
        kept = _why_kept(finding, policy, fleet)
        if kept:
            trace.append(f"{finding.name}: {finding.status.value} ({finding.why}); node kept: {kept}")
        else:
            trace.append(f"{finding.name}: fail ({finding.why}); the node is unfit: confirmed by a second measurement")
            rejecting = rejecting or finding
    if rejecting is not None:
        reason = reason_for(rejecting)
        trace.append(f"verdict reject: {reason}")
        return Decision(Verdict.REJECT, rejecting.name, reason, tuple(trace))
    if trace:
        trace.append("verdict degraded: usable, with the findings above")
        return Decision(Verdict.DEGRADED, trace=tuple(trace))
    return Decision(Verdict.ACCEPT, trace=("verdict accept: nothing needs attention",))


def _why_kept(finding: Finding, policy: Policy, fleet: Fleet) -> str:
    """Why this finding does not cost the node; "" when it does."""
    if finding.status is Status.UNKNOWN:
        return "unknown never rejects"
    if finding.severity is not Severity.REJECT:
        return "the policy only warns about it"
    if finding.status is not Status.FAIL:
        return "it is not certain"
    if finding.blame is not Blame.NODE:
        return f"the {finding.blame.value if finding.blame else 'unknown'} is to blame, another node would not help"
    if not finding.confirmed:
        return "a second measurement did not confirm it"
    rule = policy.rules.get(finding.name)
    if not fleet.readable:
        if rule is None or not rule.hard:
            return f"the ledger cannot be read ({fleet.why_not}), so no reallocation is counted"
        return "its one reallocation without a ledger is spent" if fleet.spent_without_ledger else ""
    if finding.name in fleet.demoted:
        failing = fleet.machines_failing.get(finding.name, 0)
        return f"{failing} machines failed it in a row, so the fault is common to all and not the node's"
    if fleet.tokens_used >= policy.tokens:
        return f"all {policy.tokens} reallocations of the last {policy.token_window_s / 3600:.0f} h are used"
    return ""


def reason_for(finding: Finding) -> str:
    """What the platform is told: check, observed and required, at most 1000 characters, no secrets."""
    observed = show(finding.observed, finding.unit) if finding.observed is not None else finding.why
    text = f"preflight: {finding.name} failed: observed {observed}"
    if finding.required:
        text += f", required {finding.required}"
    return f"{text} [{finding.code}], measured twice"[:REASON_MAX]
