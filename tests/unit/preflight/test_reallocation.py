"""Handing a node back: once, only when it is earned; a real fake of the metadata service and a real store."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from preflight.assessment import warmup_s
from preflight.checks import Context, Reading, all_checks
from preflight.errors import ImdsError, Unmeasured
from preflight.examine import Setup, examine
from preflight.limits import policy_from
from preflight.model import Blame, Verdict
from preflight.platforms import detect
from preflight.platforms.salad import Salad
from sync.clock import SystemClock
from sync.stores import ANY, ObjectInfo, Precondition
from sync.stores.config import file_config
from sync.stores.file import FileStore
from tests.support.examined import FleetOfOne, fleet_of_one, node_check
from tests.support.imds import FakeImds, fake_imds

LOW = node_check(lambda _: 3.0)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfOne]:
    with fleet_of_one(tmp_path, LOW) as one:
        yield one


def test_an_unfit_node_is_handed_back_exactly_once_and_says_why(fleet: FleetOfOne) -> None:
    report = fleet.start()
    assert report.verdict is Verdict.REJECT
    assert (report.action.kind, report.action.done) == ("reallocate", True)
    (call,) = fleet.imds.posted("/v1/reallocate")
    assert call.status == 204
    assert call.headers["Metadata"] == "true"
    assert call.body == {"reason": report.reason}
    for word in ("gpu.memory", "observed 3", "required >= 10", "GPU-MEMORY-LOW"):
        assert word in report.reason


def test_the_token_is_written_before_the_request(fleet: FleetOfOne, tmp_path: Path) -> None:
    fleet.imds.fault("POST", "/v1/reallocate", cut=True)
    report = fleet.start()
    assert report.verdict is Verdict.DEGRADED
    tokens = list((tmp_path / "bucket" / ".preflight" / "ledger" / "group" / "tokens").iterdir())
    assert [token.name for token in tokens] == ["0000"]


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 403}, {"status": 404}, {"status": 400}, {"status": 302}, {"cut": True},
              {"status": 200}],
)  # fmt: skip
def test_a_refusing_platform_is_asked_once_and_the_node_is_used(fleet: FleetOfOne, fault: dict[str, object]) -> None:
    fleet.imds.fault("POST", "/v1/reallocate", **fault)
    report = fleet.start()
    assert len(fleet.imds.posted("/v1/reallocate")) == 1
    assert report.verdict is Verdict.DEGRADED
    assert (report.action.kind, report.action.done) == ("none", False)
    assert "did not take the node back" in report.action.outcome


def test_a_hanging_platform_is_given_up_after_three_seconds(fleet: FleetOfOne) -> None:
    fleet.imds.fault("POST", "/v1/reallocate", hang=True)
    report = fleet.start()
    assert report.verdict is Verdict.DEGRADED
    assert len(fleet.imds.posted("/v1/reallocate")) == 1


def test_what_a_second_look_does_not_confirm_costs_nothing(tmp_path: Path) -> None:
    looks: list[int] = []

    def flicker(context: Context) -> float:
        looks.append(context.round_number)
        return 3.0 if context.round_number == 0 else 30.0

    with fleet_of_one(tmp_path, node_check(flicker)) as fleet:
        report = fleet.start()
        assert looks == [0, 1]
        assert report.verdict is Verdict.DEGRADED
        assert "not confirmed" in report.findings[0].why
        assert fleet.imds.reallocations == []


def test_a_second_look_that_cannot_measure_or_blames_another_confirms_nothing(tmp_path: Path) -> None:
    def hidden(context: Context) -> float:
        if context.round_number:
            raise Unmeasured("the driver hung")
        return 3.0

    def excused(context: Context) -> Reading:
        return Reading(3.0, blame=Blame.ENDPOINT if context.round_number else None)

    for number, measure in enumerate((hidden, excused)):
        with fleet_of_one(tmp_path / str(number), node_check(measure)) as fleet:
            assert fleet.start().verdict is Verdict.DEGRADED
            assert fleet.imds.reallocations == []


def test_report_only(fleet: FleetOfOne) -> None:
    report = fleet.start(PREFLIGHT_ON_REJECT="report")
    assert report.verdict is Verdict.REJECT
    assert report.action.kind == "none"
    assert fleet.imds.reallocations == []


def test_three_tokens_in_48_hours_and_no_fourth(fleet: FleetOfOne) -> None:
    verdicts = [fleet.start(f"m-{number}").verdict for number in range(3)]
    assert verdicts == [Verdict.REJECT] * 3
    report = fleet.start("m-9")
    assert report.verdict is Verdict.DEGRADED
    assert "all 3 reallocations" in " ".join(report.trace)
    assert len(fleet.imds.reallocations) == 3


def test_the_same_failure_on_many_machines_is_nobodys_node(fleet: FleetOfOne) -> None:
    verdicts = [fleet.start(f"m-{number}", PREFLIGHT_REPLICAS="100").verdict for number in range(6)]
    assert verdicts == [Verdict.REJECT] * 3 + [Verdict.DEGRADED] * 3
    assert "common to all" in " ".join(fleet.start("m-9", PREFLIGHT_REPLICAS="100").trace)


def test_a_pass_anywhere_closes_the_breaker(tmp_path: Path) -> None:
    fit: set[str] = set()

    def measure(context: Context) -> float:
        return 30.0 if context.environ["SALAD_MACHINE_ID"] in fit else 3.0

    with fleet_of_one(tmp_path, node_check(measure)) as fleet:
        fleet.environ["PREFLIGHT_REPLICAS"] = "100"
        for number in range(4):
            fleet.start(f"bad-{number}")
        assert fleet.start("bad-4").verdict is Verdict.DEGRADED
        fit.add("good")
        assert fleet.start("good").verdict is Verdict.ACCEPT
        assert fleet.start("bad-5").verdict is Verdict.REJECT


def test_without_a_ledger_nothing_is_handed_back_unless_the_hardware_is_proven_bad(tmp_path: Path) -> None:
    with fleet_of_one(tmp_path, LOW) as fleet:
        fleet.stores = ()
        assert fleet.start().verdict is Verdict.DEGRADED
        fleet.checks = (node_check(lambda _: 3.0, hard=True),)
        assert fleet.start().verdict is Verdict.REJECT
        assert fleet.start().verdict is Verdict.DEGRADED, "once a container life"
        assert len(fleet.imds.reallocations) == 1


def test_a_bucket_that_cannot_be_written_grants_no_token(tmp_path: Path) -> None:
    with fleet_of_one(tmp_path, LOW) as fleet:
        (tmp_path / "notafolder").write_text("")
        fleet.stores = (file_config(tmp_path / "notafolder"),)
        assert fleet.start().verdict is Verdict.DEGRADED
        assert fleet.imds.reallocations == []


def test_off_the_platform_nobody_is_asked(tmp_path: Path) -> None:
    with fleet_of_one(tmp_path, LOW) as fleet:
        report = fleet.start(PREFLIGHT_PLATFORM="none", PREFLIGHT_ON_REJECT="reallocate")
        assert report.platform == "none"
        assert report.verdict is Verdict.DEGRADED
        assert fleet.imds.calls == []


# --- the platforms themselves -------------------------------------------------------------------------------------


@pytest.fixture
def imds() -> Iterator[FakeImds]:
    with fake_imds() as service:
        yield service


def salad(imds: FakeImds, **environ: str) -> Salad:
    return Salad({"SALAD_MACHINE_ID": "m", "SALAD_METADATA_URI": imds.url + "/", **environ}, SystemClock())


def test_salad_speaks_as_its_service_demands(imds: FakeImds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    platform = salad(imds)
    assert platform.answers()
    assert platform.status() == {"ready": False, "started": False}
    platform.set_deletion_cost(7)
    assert platform.deletion_cost() == 7
    platform.restart()
    platform.recreate()
    assert [call.status for call in imds.calls] == [200, 200, 204, 200, 204, 204]
    assert all(call.headers["Metadata"] == "true" for call in imds.calls)
    assert not any(name.lower().startswith("x-forwarded") for call in imds.calls for name in call.headers)


def test_a_reason_always_fits(imds: FakeImds) -> None:
    salad(imds).reallocate("x" * 5000)
    salad(imds).reallocate("")
    assert [len(reason) for reason in imds.reallocations] == [1000, 5]


def test_the_older_answer_to_deletion_cost_is_fine_too(imds: FakeImds) -> None:
    imds.fault("PUT", "/v1/deletion-cost", status=200)
    salad(imds).set_deletion_cost(1)


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 500}, {"cut": True}, {"body": b"<html>"}])
def test_what_is_no_metadata_service_is_an_error(imds: FakeImds, fault: dict[str, object]) -> None:
    imds.fault("GET", "/v1/status", **fault)
    with pytest.raises(ImdsError):
        salad(imds).status()
    assert not salad(imds).answers()


def test_detection(imds: FakeImds) -> None:
    clock = SystemClock()
    there = {"SALAD_METADATA_URI": imds.url}
    nobody = {"SALAD_METADATA_URI": "http://127.0.0.1:9"}
    set_by_hand = {"SALAD_MACHINE_ID": "LOCAL_001"}
    assert detect({**there, **set_by_hand}, clock).name == "salad"
    assert detect(there, clock).name == "none"
    pretended = detect({**nobody, **set_by_hand}, clock)
    assert pretended.name == "none"
    assert pretended.exit_burns_node, "a broken metadata service must not turn bad settings into a lost node"
    assert detect({**nobody, **set_by_hand, "PREFLIGHT_PLATFORM": "salad"}, clock).name == "salad"
    assert detect({"PREFLIGHT_PLATFORM": "gongji"}, clock).name == "gongji"
    assert detect({**there, **set_by_hand, "PREFLIGHT_PLATFORM": "none"}, clock).name == "none"


def test_gongji_replaces_a_node_on_a_failed_readiness_probe() -> None:
    platform = detect({"PREFLIGHT_PLATFORM": "gongji", "HOSTNAME": "deployment-5-8vxr7frs-abcde"}, SystemClock())
    assert (platform.machine(), platform.group) == ("deployment-5-8vxr7frs-abcde", "deployment-5")
    assert platform.probe_effects.ready == "replaces"
    assert not platform.can_reallocate
    with pytest.raises(ImdsError):
        platform.reallocate("x")


# --- whatever hangs -----------------------------------------------------------------------------------------------


class HangingStore(FileStore):
    """A bucket that stops answering: at once, or only when something is to be written."""

    def __init__(self, root: Path, release: threading.Event, *, writes_only: bool) -> None:
        super().__init__(root)
        self._release = release
        self._writes_only = writes_only

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if not self._writes_only:
            self._release.wait()
        return super().list(prefix)

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        self._release.wait()
        return super().put(key, body, meta=meta, only_if=only_if)


@pytest.mark.parametrize("writes_only", [False, True])
def test_a_hanging_ledger_keeps_the_node_and_never_the_verdict(tmp_path: Path, writes_only: bool) -> None:
    release = threading.Event()
    try:
        with fleet_of_one(tmp_path, LOW) as fleet:
            fleet.open_store = lambda _: HangingStore(tmp_path / "bucket", release, writes_only=writes_only)
            started = time.monotonic()
            report = fleet.start()
            assert time.monotonic() - started < 25
            assert report.took_s < 8
            assert report.verdict is Verdict.DEGRADED
            assert fleet.imds.reallocations == []
            words = "did not answer in time"
            assert words in report.action.outcome or any(words in step for step in report.trace)
    finally:
        release.set()


def test_everything_hangs_and_a_verdict_comes(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_: Context) -> float:
        release.wait()
        return 0.0

    def slow_fault(context: Context) -> float:
        if context.round_number:
            release.wait()
        return 3.0

    try:
        checks = (node_check(slow_fault), *(node_check(hang, f"bucket.x{number}") for number in range(5)))
        with fleet_of_one(tmp_path, *checks) as fleet:
            fleet.hard_cap_s = 3.0
            fleet.open_store = lambda _: HangingStore(tmp_path / "bucket", release, writes_only=False)
            report = fleet.start()
            assert report.took_s < 4.0
            assert report.verdict is Verdict.DEGRADED
            assert fleet.imds.reallocations == []
    finally:
        release.set()


def test_a_long_warm_up_of_the_users_is_waited_for_and_confirmed(tmp_path: Path) -> None:
    """The hard cap is ours; the user's own command comes on top of it, in both rounds."""
    environ = {
        "PREFLIGHT_WARMUP_COMMAND": "sleep 2; echo 3",
        "PREFLIGHT_WARMUP_TIMEOUT_S": "4",
        "PATH": "/usr/bin:/bin",
    }
    assert warmup_s(environ) == 4.0
    assert warmup_s({"PREFLIGHT_WARMUP_TIMEOUT_S": "4"}) == 0.0
    check = next(one for one in all_checks() if one.name == "warmup.result")
    environ |= {"SALAD_MACHINE_ID": "m", "PREFLIGHT_LIMIT_WARMUP_RESULT_AT_LEAST": "10", "PREFLIGHT_PLATFORM": "none"}
    setup = Setup(
        environ=environ, policy=policy_from(environ), data_dir=tmp_path, state_dir=tmp_path / "s", checks=(check,),
        stores=(file_config(tmp_path / "b"),), hard_cap_s=1.0, warmup_s=warmup_s(environ),
    )  # fmt: skip
    report = examine(setup, platform=detect(environ, SystemClock()), clock=SystemClock(), rng=random.Random(0)).report
    assert report.verdict is Verdict.REJECT
    assert report.took_s > 4
