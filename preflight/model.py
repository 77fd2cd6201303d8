"""The nouns of a verdict. Pure: no clock, no random, no socket, no environment.

A check *measures* (Measurement), `policy.judge` *judges* (Finding, Verdict), `policy.decide` *decides* (Action);
rendering and acting live elsewhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

EMPTY: Mapping[str, object] = MappingProxyType({})


class Status(enum.StrEnum):
    """Of one check after judging."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"  # could not be measured; never rejects a node
    SKIP = "skip"  # not expected here (no GPU machine, no store)


class Blame(enum.StrEnum):
    """Who must act. Only `node` may ever lead to a reallocation."""

    NODE = "node"
    IMAGE = "image"
    ACCOUNT = "account"
    ENDPOINT = "endpoint"
    PLATFORM = "platform"
    UNKNOWN = "unknown"


class Severity(enum.StrEnum):
    """What a broken limit means: `reject` makes the node unfit, `warn` is shown, `note` only recorded."""

    REJECT = "reject"
    WARN = "warn"
    NOTE = "note"


class Verdict(enum.StrEnum):
    """The conclusion over all checks."""

    ACCEPT = "accept"
    DEGRADED = "degraded"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a check saw. Exactly one of `value` and `why_not` is set.

    `value` is a number in `unit`, or a string for identities ("570.86"). `blame` is set by the check when an
    *error itself* tells who is at fault (403 -> account); otherwise judging takes the limit's blame.
    """

    name: str  # dotted and stable: "bucket.upload"
    unit: str  # "s", "B", "B/s", "ratio", "count", "degC", "version", ""
    value: float | str | None = None
    why_not: str | None = None
    skipped: bool = False  # not expected here; `why_not` says why
    failed: bool = False  # the thing itself is broken and proven so (403 on put); `why_not` says how
    blame: Blame | None = None
    advice: str = ""  # overrides the limit's advice where the check knows better
    at: datetime | None = None  # UTC
    took_s: float = 0.0
    detail: Mapping[str, object] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Limit:
    """When a measurement is bad, and what that means. Judged, never measured."""

    at_least: float | str | None = None  # a string only for unit "version": "12.10" is more than "12.8"
    at_most: float | str | None = None
    severity: Severity = Severity.WARN
    blame: Blame = Blame.NODE
    advice: str = ""  # one sentence for people
    why: str = ""  # why this default


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, judged."""

    name: str
    status: Status
    blame: Blame | None
    observed: float | str | None
    required: str  # ">= 10 MB/s", "" when there is no limit
    unit: str
    why: str
    advice: str
    took_s: float
    severity: Severity = Severity.NOTE
    confirmed: bool = False  # a second measurement in a fresh child agreed
    code: str = ""  # "BUCKET-UPLOAD-LOW": stable, has a runbook page
    detail: Mapping[str, object] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Action:
    """What was done about the verdict. `outcome` is a sentence."""

    kind: str = "none"  # none | reallocate | ...
    reason: str = ""
    outcome: str = ""
    done: bool = False  # the platform accepted it


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `/report`, the page and the ledger show."""

    verdict: Verdict
    machine: str
    platform: str
    decided_at: datetime
    took_s: float
    checks: tuple[Finding, ...]
    findings: tuple[Finding, ...]  # those that need attention: warn, fail, and an unknown that should be known
    action: Action = Action()
    trace: tuple[str, ...] = ()  # why the decision is what it is, step by step
    reject_for: str = ""  # the check that makes the node unfit; "" unless rejected
    reason: str = ""  # what the platform is told when the node is handed back
