"""Lanes, deadlines and the hard cap: whatever a check does, a measurement comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preflight import runner
from preflight.checks import Broken, Check, Context, Lane, NotExpected, Reading, all_checks, checks_in
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Measurement, Status, Verdict
from preflight.policy import Fleet, Policy, Rule, decide, judge


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hung checks wait for, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def check(
    name: str, measure: Callable[[Context], Reading | float | str], lane: Lane = Lane.HOST, **more: float
) -> Check:
    return Check(name, name, "s", lane, measure, Limit(), **{"deadline_s": 2.0, **more})  # type: ignore[arg-type]


def by_name(measurements: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {one.name: one for one in measurements}


def test_what_a_check_does_becomes_a_measurement() -> None:
    def unmeasured(_: Context) -> float:
        raise Unmeasured("no reply")

    def broken(_: Context) -> float:
        raise Broken("403", blame=Blame.ACCOUNT, advice="check the key")

    def skipped(_: Context) -> float:
        raise NotExpected("no GPU")

    def bug(_: Context) -> float:
        raise ZeroDivisionError

    def exits(_: Context) -> float:
        raise SystemExit(3)

    seen = by_name(
        runner.run(
            [
                check("number", lambda _: 1.5),
                check("text", lambda _: "570.86"),
                check("reading", lambda _: Reading(2.0, {"n": 3})),
                check("unmeasured", unmeasured),
                check("broken", broken),
                check("skipped", skipped),
                check("bug", bug),
                check("exits", exits),
            ],
            Context(),
        )
    )
    assert seen["number"].value == 1.5
    assert seen["text"].value == "570.86"
    assert seen["reading"].detail == {"n": 3}
    assert (seen["unmeasured"].value, seen["unmeasured"].why_not) == (None, "no reply")
    assert (seen["broken"].failed, seen["broken"].blame) == (True, Blame.ACCOUNT)
    assert seen["skipped"].skipped
    assert "ZeroDivisionError" in (seen["bug"].why_not or "")
    assert not seen["bug"].failed
    assert seen["exits"].value is None


def test_a_hanging_check_is_unknown_and_its_lane_goes_on(release: threading.Event) -> None:
    def hang(_: Context) -> float:
        release.wait()
        return 0.0

    started = time.monotonic()
    seen = by_name(runner.run([check("hangs", hang, deadline_s=0.2), check("after", lambda _: 1.0)], Context()))
    assert time.monotonic() - started < 2
    assert seen["hangs"].value is None
    assert "no result within" in (seen["hangs"].why_not or "")
    assert seen["after"].value == 1.0


def test_the_hard_cap_ends_everything(release: threading.Event) -> None:
    def hang(context: Context) -> float:
        release.wait()
        return 0.0

    context = Context()
    checks = [check(f"{lane}.{n}", hang, lane, deadline_s=30.0) for lane in Lane for n in range(3)]
    started = time.monotonic()
    seen = runner.run(checks, context, hard_cap_s=0.4)
    assert time.monotonic() - started < 2
    assert [one.name for one in seen] == [one.name for one in checks]
    assert all(one.value is None and one.why_not for one in seen)
    assert context.stopped.is_set()


def test_lanes_run_side_by_side_and_results_are_told_as_they_come(release: threading.Event) -> None:
    barrier = threading.Barrier(2, timeout=5)

    def meet(_: Context) -> float:
        barrier.wait()
        return 1.0

    told: list[str] = []
    threads: set[int] = set()

    def tell(measurement: Measurement) -> None:
        told.append(measurement.name)
        threads.add(threading.get_ident())

    runner.run([check("a", meet, Lane.HOST), check("b", meet, Lane.DISK)], Context(), on_measurement=tell)
    assert sorted(told) == ["a", "b"]
    assert threads == {threading.get_ident()}


def test_one_measurement_serves_several_checks() -> None:
    calls: list[int] = []

    def make() -> int:
        calls.append(1)
        return 7

    context = Context()
    checks = [check(f"c{n}", lambda c: float(c.shared.once("key", make)), Lane.HOST) for n in range(4)]
    assert {one.value for one in runner.run(checks, context)} == {7.0}
    assert len(calls) == 1


def test_a_shared_failure_is_the_same_for_all() -> None:
    def make() -> int:
        raise Unmeasured("the driver died")

    checks = [check(f"c{n}", lambda c: float(c.shared.once("key", make))) for n in range(2)]
    assert {one.why_not for one in runner.run(checks, Context())} == {"the driver died"}


def test_a_file_that_cannot_be_imported_costs_its_own_checks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discovery over a folder where one file needs a library that is missing, and one is damaged."""
    folder = tmp_path / "damaged_checks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "needs.py").write_text("import a_library_that_nobody_has\n")
    (folder / "torn.py").write_text("CHECKS = (\n")
    (folder / "whole.py").write_text(
        "from preflight.checks import Check, Lane\nfrom preflight.model import Limit\n"
        "CHECKS = (Check('whole.one', 'One', 's', Lane.HOST, lambda _: 1.0, Limit()),)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = checks_in([str(folder)], "damaged_checks")
    assert [one.name for one in found] == ["whole.one", "toolkit.loaded"]
    policy = Policy({one.name: Rule(one.name, one.unit, one.limit) for one in found})
    whole, loaded = judge(runner.run(found, Context()), policy)
    assert whole.status is Status.PASS
    assert (loaded.status, loaded.blame, loaded.code) == (Status.UNKNOWN, Blame.IMAGE, "TOOLKIT-LOADED-UNKNOWN")
    assert "needs: ModuleNotFoundError" in loaded.why
    assert "torn: SyntaxError" in loaded.why
    assert decide((whole, loaded), policy, Fleet()).verdict is Verdict.DEGRADED


def test_all_of_the_toolkits_own_checks_load() -> None:
    (loaded,) = [one for one in all_checks() if one.name == "toolkit.loaded"]
    (seen,) = runner.run((loaded,), Context())
    assert seen.value == "complete"
