"""Recorded evidence, looked at again: what happened in the fleet, and what other limits would have done. Pure.

`history` lists verdicts; `replay` judges the recorded measurements under new limits and counts the nodes that
would have been handed back. Nothing is measured and nothing is sent.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from preflight.errors import BadSettings
from preflight.evidence import limit_from, measurement_from
from preflight.limits import policy_from, variable
from preflight.model import Action, Blame, Finding, Limit, Measurement, Report, Severity, Status, Verdict
from preflight.policy import Policy, Rule, judge, may_reject

_EXPRESSION = re.compile(r"^\s*([a-z0-9_.-]+)\s*(>=|<=)\s*(.+?)\s*$")


@dataclass(frozen=True, slots=True)
class Start:
    """One recorded start of a node."""

    report: Report
    measurements: tuple[Measurement, ...]
    confirmations: tuple[Measurement, ...]
    limits: Mapping[str, Limit]


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded start under other limits."""

    start: Start
    rejected_for: tuple[str, ...]  # surely: the interval lies beyond the limit, and no second look denied it
    flagged_for: tuple[str, ...]  # broken, but not surely the node's


def start_from(document: Mapping[str, Any]) -> Start | None:
    """A start from its evidence document; None for a document of another form."""
    try:
        return Start(
            report=report_from(document["report"]),
            measurements=tuple(measurement_from(one) for one in document["measurements"]),
            confirmations=tuple(measurement_from(one) for one in document["confirmations"]),
            limits={name: limit_from(one) for name, one in document["limits"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def starts_from(documents: Iterable[Mapping[str, Any]]) -> tuple[Start, ...]:
    """The starts that can be understood, oldest first, each once."""
    found: dict[tuple[datetime, str], Start] = {}
    for document in documents:
        if (start := start_from(document)) is not None:
            found[(start.report.decided_at, start.report.machine)] = start
    return tuple(found[key] for key in sorted(found))


def report_from(document: Mapping[str, Any]) -> Report:
    """A Report back from its document. Raises KeyError, TypeError or ValueError for another form."""
    action = document["action"]
    return Report(
        verdict=Verdict(document["verdict"]),
        machine=str(document["machine"]),
        platform=str(document["platform"]),
        decided_at=datetime.fromisoformat(document["decided_at"]),
        took_s=float(document["took_s"]),
        checks=tuple(_finding_from(one) for one in document["checks"]),
        findings=tuple(_finding_from(one) for one in document["findings"]),
        action=Action(action["kind"], action["reason"], action["outcome"], bool(action["done"])),
        trace=tuple(document["trace"]),
        reject_for=str(document["reject_for"]),
    )


def _finding_from(document: Mapping[str, Any]) -> Finding:
    fields = dict(document)
    fields["status"] = Status(fields["status"])
    fields["blame"] = Blame(fields["blame"]) if fields["blame"] else None
    fields["severity"] = Severity(fields["severity"])
    return Finding(**fields)


def limits_from(expressions: Sequence[str]) -> Policy:
    """A policy from `bucket.upload>=20Mbps` and the like. Raises BadSettings naming every wrong one."""
    environ: dict[str, str] = {}
    problems: list[str] = []
    for expression in expressions:
        match = _EXPRESSION.match(expression)
        if match is None:
            problems.append(f"--limit: {expression!r} is not of the form bucket.upload>=20Mbps")
            continue
        name, sign, value = match.groups()
        environ[variable(name, "at_least" if sign == ">=" else "at_most")] = value
    try:
        policy = policy_from(environ)
    except BadSettings as bad:
        problems += bad.problems
    if problems:
        raise BadSettings(problems)
    return policy


def replay(starts: Iterable[Start], policy: Policy) -> tuple[Replayed, ...]:
    """Every start, judged again. A measurement that was not repeated then counts as if its repetition agreed."""
    return tuple(_again(start, policy) for start in starts)


def _again(start: Start, policy: Policy) -> Replayed:
    second = {one.name: one for one in start.confirmations}
    rejected: list[str] = []
    flagged: list[str] = []
    for finding in judge(start.measurements, policy):
        if not policy.rules.get(finding.name, Rule("", "", Limit())).from_user:
            continue
        if not may_reject(finding):
            if finding.status in (Status.FAIL, Status.WARN):
                flagged.append(finding.name)
            continue
        again = second.get(finding.name)
        agreed = again is None or may_reject(judge((again,), policy)[0])
        (rejected if agreed else flagged).append(finding.name)
    return Replayed(start, tuple(rejected), tuple(flagged))


def by_machine(starts: Iterable[Start]) -> dict[str, list[Start]]:
    """The starts of each machine."""
    machines: dict[str, list[Start]] = {}
    for start in starts:
        machines.setdefault(start.report.machine, []).append(start)
    return machines


def values_of(starts: Iterable[Start], name: str) -> list[float]:
    """One number a machine: the median of what its starts measured for a check."""
    values = []
    for members in by_machine(starts).values():
        seen = [one.value for start in members for one in start.measurements if one.name == name]
        numbers = [value for value in seen if isinstance(value, int | float)]
        if numbers:
            values.append(float(statistics.median(numbers)))
    return values
