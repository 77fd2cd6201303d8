"""Run, judge, confirm, decide: from a node to a Report. Acts on nothing; `reallocation.hand_back` does.

The bucket's ledger is read only when a node may have to go, beside the second look. Whatever hangs (a driver,
a disk, the bucket), the Report is there within the hard cap.
"""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from preflight import runner
from preflight.checks import Check, Context, Shared, all_checks
from preflight.ledger import Ledger, no_ledger, reading_failed
from preflight.model import Finding, Measurement, Report, Severity, Status, Verdict
from preflight.platforms import Platform
from preflight.policy import Decision, Fleet, Policy, decide, judge, may_reject, needs_attention
from sync.clock import Clock
from sync.errors import SyncError
from sync.stores import Store
from sync.stores.config import StoreConfig

FIRST_ROUND_S = 13.0  # of the hard cap; the rest is for confirming and the ledger
LEDGER_S = 4.0  # what reading the ledger may still take when the checks are done
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setup:
    """What an examination needs to know about its surroundings."""

    environ: Mapping[str, str]
    policy: Policy
    data_dir: Path
    state_dir: Path
    stores: tuple[StoreConfig, ...] = ()
    expect_gpu: bool = False
    image_manifest: Path = Path("/opt/preflight/image.json")
    checks: tuple[Check, ...] | None = None  # None: all that belong to a start
    hard_cap_s: float = runner.HARD_CAP_S
    warmup_s: float = 0.0  # what the user's own command may take: the first round waits for it, and so does the second
    open_store: Callable[[StoreConfig], Store] | None = None
    durable_ledger: bool = True  # False: the store dies with this node (the embedded folder), so it counts nothing


@dataclass(frozen=True, slots=True)
class Examined:
    """The Report and what led to it, for evidence."""

    report: Report
    decision: Decision
    measurements: tuple[Measurement, ...]
    confirmations: tuple[Measurement, ...] = ()
    fleet: Fleet = field(default_factory=Fleet)


def examine(
    setup: Setup,
    *,
    platform: Platform,
    clock: Clock,
    rng: random.Random,
    on_finding: Callable[[Finding], None] | None = None,
) -> Examined:
    """The node, examined. `on_finding` hears of every check as it ends, before anything is confirmed."""
    started = clock.monotonic()
    checks = setup.checks if setup.checks is not None else start_checks()

    def context(round_number: int, first: Sequence[Measurement] = ()) -> Context:
        return Context(
            environ=setup.environ, platform=platform, data_dir=setup.data_dir, state_dir=setup.state_dir,
            stores=setup.stores, image_manifest=setup.image_manifest, clock=clock,
            rng=random.Random(rng.getrandbits(64)), expect_gpu=setup.expect_gpu,
            limits={name: rule.limit for name, rule in setup.policy.rules.items()},
            round_number=round_number, first={one.name: one for one in first}, shared=Shared(),
            open_store=setup.open_store,
        )  # fmt: skip

    def tell(measurement: Measurement) -> None:
        if on_finding:
            on_finding(judge((measurement,), setup.policy)[0])

    hard_cap_s = setup.hard_cap_s + 2 * setup.warmup_s
    first_round_s = setup.hard_cap_s * FIRST_ROUND_S / runner.HARD_CAP_S + setup.warmup_s
    measurements = _round(checks, context(0), tell, first_round_s)
    findings = judge(measurements, setup.policy)
    suspects = [finding.name for finding in findings if may_reject(finding)]
    confirmations: tuple[Measurement, ...] = ()
    fleet = no_ledger("nothing here needed it")
    if suspects:
        reading = _LedgerReading(setup, platform, clock)
        left_s = hard_cap_s - (clock.monotonic() - started) - 0.5
        again = [check for check in checks if check.name in suspects]
        confirmations = _round(again, context(1, measurements), None, left_s)
        findings = confirm(findings, judge(confirmations, setup.policy))
        left_s = hard_cap_s - (clock.monotonic() - started) - 0.2
        fleet = reading.result(max(0.1, min(LEDGER_S, left_s)))
    decision = decide(findings, setup.policy, fleet)
    report = Report(
        verdict=decision.verdict,
        machine=platform.machine(),
        platform=platform.name,
        decided_at=datetime.fromtimestamp(clock.now(), UTC),
        took_s=clock.monotonic() - started,
        checks=findings,
        findings=tuple(finding for finding in findings if needs_attention(finding)),
        trace=decision.trace,
        reject_for=decision.reject_for,
        reason=decision.reason,
    )
    return Examined(report, decision, measurements, confirmations, fleet)


def start_checks(names: Sequence[str] = ()) -> tuple[Check, ...]:
    """The checks of a start; only those of `names` (a name or the part before its dot), if given."""
    checks = tuple(check for check in all_checks() if not check.monitor_only)
    if not names:
        return checks
    return tuple(check for check in checks if any(check.name == n or check.name.startswith(f"{n}.") for n in names))


def confirm(first: Sequence[Finding], second: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings of the first round, corrected by the second: fail twice is confirmed, fail once is a warning.

    A second round that could not measure, or that blames somebody else, confirms nothing.
    """
    again = {finding.name: finding for finding in second}
    merged = []
    for finding in first:
        other = again.get(finding.name)
        if other is None or not may_reject(finding):
            merged.append(finding)
        elif may_reject(other):
            merged.append(dataclasses.replace(other, confirmed=True, took_s=finding.took_s + other.took_s))
        elif other.status is Status.FAIL:
            merged.append(other)
        else:
            why = f"{finding.why}; not confirmed by a second measurement ({other.why or other.status.value})"
            merged.append(dataclasses.replace(finding, status=Status.WARN, why=why, severity=Severity.REJECT))
    return tuple(merged)


def _round(
    checks: Sequence[Check], context: Context, tell: Callable[[Measurement], None] | None, cap_s: float
) -> tuple[Measurement, ...]:
    try:
        return runner.run(checks, context, on_measurement=tell, hard_cap_s=max(cap_s, 0.1))
    finally:
        context.shared.close()


class _LedgerReading:
    """Reads the ledger in the background, because the bucket may hang."""

    def __init__(self, setup: Setup, platform: Platform, clock: Clock) -> None:
        self._fleet: Fleet | None = None
        self._ended = threading.Event()
        self._why = _why_no_ledger(setup)
        if self._why:
            self._fleet = no_ledger(self._why)
            self._ended.set()
            return
        threading.Thread(target=self._read, args=(setup, platform, clock), name="ledger", daemon=True).start()

    def result(self, timeout_s: float) -> Fleet:
        """The fleet, or that it could not be read in time."""
        self._ended.wait(timeout_s)
        return self._fleet or no_ledger("the bucket did not answer in time")

    def _read(self, setup: Setup, platform: Platform, clock: Clock) -> None:
        try:
            store = open_ledger_store(setup)
            try:
                ledger = Ledger(store, platform.group, platform.machine())
                fleet = ledger.read(clock.now(), setup.policy)
                spent = spent_marker(setup.state_dir).exists()
                self._fleet = dataclasses.replace(fleet, spent_without_ledger=spent)
            finally:
                store.close()
        except SyncError as error:
            self._fleet = dataclasses.replace(
                reading_failed(error), spent_without_ledger=spent_marker(setup.state_dir).exists()
            )
        finally:
            self._ended.set()


def open_ledger_store(setup: Setup) -> Store:
    """The primary store, opened for the ledger alone."""
    if setup.open_store is not None:
        return setup.open_store(setup.stores[0])
    from sync.stores.opening import open_store

    return open_store(setup.stores[0])


def spent_marker(state_dir: Path) -> Path:
    """The file that says: this container used its one reallocation without a ledger."""
    return state_dir / "preflight" / "reallocated-without-ledger"


def _why_no_ledger(setup: Setup) -> str:
    if not setup.stores:
        return "no bucket is configured"
    return "" if setup.durable_ledger else "the store is a folder that dies with this node"


def is_final(verdict: Verdict) -> bool:
    """Whether the node may be used."""
    return verdict is not Verdict.REJECT
