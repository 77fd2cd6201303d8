"""Simulated residential lines, to learn how often the throughput rule is wrong. Nothing here waits for real.

A line's rate wanders around its median (lognormal AR(1), sigma 0.35, correlation 0.5 over 0.2 s), stalls now and
then, and every request costs a round trip. The rule under test is the real one: `transfer.observe` and `judge`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preflight.checks.bucket_throughput import bounds, budget_bytes, budget_s
from preflight.examine import confirm
from preflight.model import Blame, Limit, Measurement, Severity, Status
from preflight.policy import Policy, Rule, judge
from preflight.transfer import Transfer, largest_for, observe

STEP_S = 0.2
SIGMA = 0.35
CORRELATION = 0.5
STALL_CHANCE = 0.01  # of a step to begin one
STALL_S = 0.6


class SimulatedClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> float:
        return self.at_s

    def monotonic(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds


class Line:
    """One node's line with a true median rate."""

    def __init__(self, rate: float, round_trip_s: float, rng: random.Random, clock: SimulatedClock) -> None:
        self._median = rate
        self._round_trip_s = round_trip_s
        self._rng = rng
        self._clock = clock
        self._level = rng.gauss(0, SIGMA)
        self._until_s = 0.0
        self._stalled_until_s = -1.0

    def move(self, size: int, streams: int) -> float:
        """Seconds for `streams` objects of `size` bytes side by side; the clock advances by as much."""
        started = self._clock.at_s
        self._clock.at_s += self._round_trip_s * self._rng.uniform(1.0, 1.15)
        left = float(size * streams)
        while left > 0:
            self._wander()
            room_s = max(self._until_s - self._clock.at_s, 1e-9)
            rate = self._median * math.exp(self._level)
            if self._clock.at_s < self._stalled_until_s:
                rate *= 0.02
            sent = min(left, rate * room_s)
            self._clock.at_s += sent / rate
            left -= sent
        return self._clock.at_s - started

    def _wander(self) -> None:
        while self._until_s <= self._clock.at_s + 1e-9:
            self._until_s += STEP_S
            fresh = self._rng.gauss(0, SIGMA * math.sqrt(1 - CORRELATION**2))
            self._level = CORRELATION * self._level + fresh
            if self._rng.random() < STALL_CHANCE:
                self._stalled_until_s = self._until_s + STALL_S


@dataclass(frozen=True)
class Outcome:
    """What the rule made of one node."""

    status: Status  # after confirmation
    confirmed: bool
    took_s: float
    moved_bytes: int


def examine_line(rate: float, limit: float, rng: random.Random) -> Outcome:
    """The throughput rule on one simulated line, both looks included."""
    clock = SimulatedClock()
    line = Line(rate, rng.uniform(0.02, 0.2), rng, clock)
    rule = Rule("bucket.upload", "B/s", Limit(at_least=limit, severity=Severity.REJECT, blame=Blame.NODE))
    policy = Policy(rules={rule.name: rule})
    first = _look(line, clock, limit, 0)
    findings = judge((_measurement(first, (), limit, 0),), policy)
    moved = first.moved_bytes if first else 0
    if findings[0].status is Status.FAIL:
        clock.sleep(1.0)  # the other checks of the round
        second = _look(line, clock, limit, 1)
        before = first.samples if first else ()
        moved += second.moved_bytes if second else 0
        findings = confirm(findings, judge((_measurement(second, before, limit, 1),), policy))
    return Outcome(findings[0].status, findings[0].confirmed, clock.at_s, moved)


def _look(line: Line, clock: SimulatedClock, limit: float, number: int) -> Transfer | None:
    return observe(
        line.move, clock,
        limit=limit, budget_bytes=budget_bytes(limit), budget_s=budget_s(limit, number), largest=largest_for(limit),
    )  # fmt: skip


def _measurement(seen: Transfer | None, before: Sequence[float], limit: float, number: int) -> Measurement:
    if seen is None:
        return Measurement("bucket.upload", "B/s", why_not="not one transfer ended in time")
    return Measurement("bucket.upload", "B/s", value=seen.rate, detail=bounds(seen, before, limit, number))


@dataclass(frozen=True)
class Shares:
    """Of many nodes: rejected, flagged (used, with a warning or an unknown), accepted."""

    rejected: float
    flagged: float
    accepted: float
    p95_s: float


def shares(ratio: float, limits: Iterable[float], nodes: int, rng: random.Random) -> Shares:
    """What becomes of `nodes` lines per limit whose true median is `ratio` times the limit."""
    outcomes = [examine_line(ratio * limit, limit, rng) for limit in limits for _ in range(nodes)]
    count = len(outcomes)
    rejected = sum(1 for one in outcomes if one.confirmed) / count
    accepted = sum(1 for one in outcomes if one.status is Status.PASS) / count
    return Shares(
        rejected, 1 - rejected - accepted, accepted, sorted(one.took_s for one in outcomes)[int(count * 0.95)]
    )
