"""Nothing but a justified, confirmed, counted verdict reaches the platform: random worlds, the product's own code."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from preflight.errors import ImdsError
from preflight.examine import Examined, Setup, confirm
from preflight.ledger import Ledger, no_ledger
from preflight.model import Blame, Finding, Limit, Measurement, Report, Severity, Status, Verdict
from preflight.platforms.bare import Bare
from preflight.policy import Fleet, Policy, Rule, decide, judge, may_reject, needs_attention
from preflight.reallocation import hand_back
from sync.errors import SyncError
from sync.stores import Store, Writes
from sync.stores.config import StoreConfig, file_config
from sync.stores.file import FileStore
from tests.model.simulation.bucket import Bucket
from tests.model.simulation.faults import Network
from tests.model.simulation.memory_store import Bystander, MemoryStore
from tests.support.links import SimulatedClock

NAMES = ("gpu.memory", "bucket.upload", "disk.free", "host.clock")


class Recorded(Bare):
    """A platform that remembers what it was asked and may refuse."""

    name = "salad"
    can_reallocate = True

    def __init__(self, machine: str = "m", refuses: bool = False) -> None:
        super().__init__({})
        self._machine = machine
        self.refuses = refuses
        self.asked: list[str] = []

    def machine(self) -> str:
        return self._machine

    def reallocate(self, reason: str) -> None:
        self.asked.append(reason)
        if self.refuses:
            raise ImdsError("no")


# Most draws lead to the platform, so that each thing that must hold it back is met alone.
numbers = st.one_of(st.just(3.0), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([9.9, 10.0, 30.0]))
anything = st.builds(
    lambda value, how, blame, high: Measurement(
        "", "count", value=value if how == "value" else None, why_not=None if how == "value" else how,
        skipped=how == "skipped", failed=how == "failed", blame=blame, detail={} if high is None else {"high": high},
    ),
    numbers, st.sampled_from(["value", "value", "value", "unknown", "skipped", "failed"]),
    st.sampled_from([None, None, *Blame]), st.one_of(st.none(), st.just("unbounded"), st.floats(0, 20)),
)  # fmt: skip
BAD = st.just(Measurement("", "count", value=3.0))
measured = st.one_of(BAD, BAD, BAD, anything)
limits = st.one_of(
    st.just(Limit(at_least=10.0, severity=Severity.REJECT, blame=Blame.NODE)),
    st.builds(
        lambda severity, blame: Limit(at_least=10.0, severity=severity, blame=blame),
        st.sampled_from(list(Severity)), st.sampled_from(list(Blame)),
    ),
)  # fmt: skip
MOSTLY = st.sampled_from([True] * 7 + [False])
RULE = st.tuples(limits, st.booleans())
EVERY_NAME = st.fixed_dictionaries(dict.fromkeys(NAMES, measured))


def named(name: str, seen: Measurement) -> Measurement:
    return dataclasses.replace(seen, name=name)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    first=EVERY_NAME,
    second=st.one_of(EVERY_NAME, st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, measured))),
    rules=st.fixed_dictionaries({NAMES[0]: RULE}, optional=dict.fromkeys(NAMES[1:], RULE)),
    ledger_at_first=MOSTLY,
    ledger_at_last=MOSTLY,
    used=st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4]),
    failing=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4, 6]),
    wish=st.sampled_from([*["reallocate"] * 8, "report", ""]),
    able=MOSTLY,
    refuses=st.booleans(),
    writes=st.sampled_from(list(Writes)),
)
def test_only_a_justified_verdict_reaches_the_platform(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[str, Measurement], second: dict[str, Measurement], rules: dict[str, tuple[Limit, bool]],
    ledger_at_first: bool, ledger_at_last: bool, used: int, failing: int, wish: str, able: bool, refuses: bool,
    writes: Writes,
) -> None:  # fmt: skip
    clock = SimulatedClock()
    clock.at_s = 1e6
    policy = Policy(rules={name: Rule(name, "count", limit, hard=hard) for name, (limit, hard) in rules.items()})
    bucket = Bucket(writes)

    def store(reachable: bool, who: str = "m") -> Store:
        network = Network(random.Random(0), partition_until_s=-1.0 if reachable else 1e12)
        return MemoryStore(bucket, Bystander(who, clock.monotonic), network)

    for number in range(used):
        Ledger(store(True), "local", f"other-{number}").take_token("x", "y", policy)
    for number in range(failing):
        Ledger(store(True), "local", f"other-{number}").note((), NAMES)
    seen = [named(name, one) for name, one in first.items()]
    again = [named(name, one) for name, one in second.items()]
    findings = judge(seen, policy)
    findings = confirm(findings, judge([one for one in again if _suspect(one.name, findings)], policy))
    setup = Setup(
        environ={}, policy=policy, data_dir=Path("/nowhere"), state_dir=tmp_path_factory.mktemp("state"),
        stores=(StoreConfig("s3", "bucket"),), open_store=lambda _: store(ledger_at_last),
    )  # fmt: skip
    platform = Recorded(refuses=refuses)
    platform.can_reallocate = able
    try:
        fleet = Ledger(store(ledger_at_first), "local", "m").read(clock.at_s, policy)
    except SyncError as error:
        fleet = no_ledger(error.what)
    decision = decide(findings, policy, fleet)
    report = _report(findings, decision.verdict, decision.reject_for, decision.reason)
    after = hand_back(Examined(report, decision, tuple(seen), fleet=fleet), setup, platform=platform, clock=clock,
                      on_reject=wish)  # fmt: skip

    assert len(platform.asked) <= 1
    assert (after.verdict is Verdict.REJECT and after.action.kind == "reallocate") == bool(
        platform.asked and not refuses
    )
    if after.action.kind == "reallocate":
        assert after.action.done
    if not platform.asked:
        return
    event("the platform was asked")
    assert wish == "reallocate"
    assert able
    justified = [
        name
        for name, (limit, hard) in rules.items()
        if limit.severity is Severity.REJECT
        and _broken_by_node(first[name], limit)
        and name in second
        and _broken_by_node(second[name], limit)
        and ((ledger_at_first and ledger_at_last and failing < 4) or (hard and not ledger_at_first))
    ]
    assert any(name in platform.asked[0] for name in justified), (justified, platform.asked)
    assert len(platform.asked[0]) <= 1000
    assert used < 3 or not ledger_at_first


def _suspect(name: str, findings: tuple[Finding, ...]) -> bool:
    return any(one.name == name and may_reject(one) for one in findings)


def _broken_by_node(seen: Measurement, limit: Limit) -> bool:
    if (seen.blame or limit.blame) is not Blame.NODE or seen.skipped:
        return False
    if seen.failed:
        return True
    if not isinstance(seen.value, float) or not 0 <= seen.value < 10.0:
        return False
    high = seen.detail.get("high")
    return high is None or (isinstance(high, float) and high < 10.0)


def _report(findings: tuple[Finding, ...], verdict: Verdict, check: str, reason: str) -> Report:
    attention = tuple(one for one in findings if needs_attention(one))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Report(verdict, "m", "salad", at, 1.0, findings, attention, reject_for=check, reason=reason)


LOW = Policy(rules={"x.y": Rule("x.y", "count", Limit(at_least=10.0, severity=Severity.REJECT))}, replicas=100)


def unfit(verdict: Verdict = Verdict.REJECT) -> Examined:
    """A node that measured 3 twice, and an innocent ledger."""
    one = judge((Measurement("x.y", "count", value=3.0),), LOW)
    findings = confirm(one, one)
    decision = decide(findings, LOW, Fleet(readable=True))
    return Examined(_report(findings, verdict, "x.y", decision.reason), decision, (), fleet=Fleet(readable=True))


def test_a_report_changed_on_its_way_costs_nothing(tmp_path: Path) -> None:
    """The verdict says reject, the findings do not: the choke point decides again, on the findings."""
    innocent = judge((Measurement("x.y", "count", value=30.0),), LOW)
    examined = Examined(
        _report(innocent, Verdict.REJECT, "x.y", "because"), decide(innocent, LOW, Fleet(readable=True)), ()
    )
    platform = Recorded()
    setup = Setup({}, LOW, tmp_path, tmp_path, stores=(file_config(tmp_path / "b"),))
    report = hand_back(examined, setup, platform=platform, clock=SimulatedClock(), on_reject="reallocate")
    assert report.verdict is Verdict.DEGRADED
    assert platform.asked == []


@pytest.mark.parametrize("verdict", [Verdict.ACCEPT, Verdict.DEGRADED])
def test_no_other_verdict_costs_a_node(tmp_path: Path, verdict: Verdict) -> None:
    platform = Recorded()
    setup = Setup({}, LOW, tmp_path, tmp_path, stores=(file_config(tmp_path / "b"),))
    hand_back(unfit(verdict), setup, platform=platform, clock=SimulatedClock(), on_reject="reallocate")
    assert platform.asked == []


def test_nodes_that_fail_at_the_same_moment_hold_each_other(tmp_path: Path) -> None:
    """24 nodes read an innocent ledger, then all act at once, on one real store."""
    platforms = [Recorded(f"m-{number}") for number in range(24)]
    barrier = threading.Barrier(len(platforms))

    def act(platform: Recorded) -> None:
        setup = Setup({}, LOW, tmp_path, tmp_path, stores=(file_config(tmp_path / "b"),))
        barrier.wait(20)
        hand_back(unfit(), setup, platform=platform, clock=SimulatedClock(), on_reject="reallocate")

    threads = [threading.Thread(target=act, args=(platform,)) for platform in platforms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(len(platform.asked) for platform in platforms) <= 3


def test_simultaneous_claims_never_take_more_tokens_than_there_are(tmp_path: Path) -> None:
    policy = Policy()
    granted: list[str] = []
    barrier = threading.Barrier(16)

    def claim(number: int) -> None:
        ledger = Ledger(FileStore(tmp_path), "g", f"m-{number}")
        barrier.wait(20)
        if token := ledger.take_token("x", "y", policy):
            granted.append(token)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(granted) == len(set(granted)) <= 3


def test_one_file_alone_reaches_the_platform(repository: Path) -> None:
    callers = [
        str(path.relative_to(repository))
        for path in sorted((repository / "preflight").rglob("*.py")) + sorted((repository / "sync").rglob("*.py"))
        if re.search(r"\.reallocate\(|v1/reallocate", path.read_text())
    ]
    assert callers == ["preflight/platforms/salad.py", "preflight/reallocation.py"]


def test_tokens_come_back_after_48_hours() -> None:
    clock = SimulatedClock()
    clock.at_s = 1e6
    bucket = Bucket(Writes.FULL)
    ledger = Ledger(MemoryStore(bucket, Bystander("m", clock.monotonic), Network(random.Random(0))), "g", "m")
    assert [bool(ledger.take_token("x", "y", Policy())) for _ in range(4)] == [True, True, True, False]
    clock.sleep(48 * 3600.0 - 1)
    assert ledger.read(clock.at_s, Policy()).tokens_used == 3
    clock.sleep(2)
    assert ledger.read(clock.at_s, Policy()).tokens_used == 0
    assert [bool(ledger.take_token("x", "y", Policy())) for _ in range(4)] == [True, True, True, False]


def test_an_open_breaker_lets_one_node_try_each_12_hours() -> None:
    clock = SimulatedClock()
    clock.at_s = 1e6
    bucket = Bucket(Writes.FULL)

    def ledger(machine: str) -> Ledger:
        return Ledger(MemoryStore(bucket, Bystander(machine, clock.monotonic), Network(random.Random(0))), "g", machine)

    for number in range(5):
        ledger(f"m-{number}").note((), ["x.y"])
    assert ledger("a").read(clock.at_s, LOW).demoted == {"x.y"}
    clock.sleep(12 * 3600.0 + 1)
    fleet = ledger("a").read(clock.at_s, LOW)
    assert fleet.half_open("x.y", LOW)
    assert ledger("a").claim_try("x.y")
    assert ledger("b").read(clock.at_s, LOW).demoted == {"x.y"}
    ledger("c").note(["x.y"], ())
    assert ledger("b").read(clock.at_s, LOW).machines_failing == {"x.y": 0}


def test_an_unknown_does_not_confirm() -> None:
    first = judge((Measurement("x.y", "count", value=3.0),), LOW)
    second = judge((Measurement("x.y", "count", why_not="hung"),), LOW)
    assert confirm(first, second)[0].status is Status.WARN
