"""A GPU that is missing: one restart on the same node, then another node. A real fake of the platform, a real store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.model import Verdict
from tests.support.examined import FleetOfOne, fleet_of_one, node_check

NO_GPU = node_check(lambda _: 0.0, "gpu.count", hard=True, at_least=1.0)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfOne]:
    with fleet_of_one(tmp_path, NO_GPU) as one:
        yield one


def asked(fleet: FleetOfOne) -> tuple[int, int]:
    """Restarts and reallocations that arrived."""
    return len(fleet.imds.posted("/v1/restart")), len(fleet.imds.reallocations)


def tokens(folder: Path) -> int:
    return len(list((folder / "bucket").rglob("tokens/*")))


def test_first_a_restart_then_another_node(fleet: FleetOfOne, tmp_path: Path) -> None:
    report = fleet.start()
    assert (report.verdict, report.action.kind, report.action.done) == (Verdict.REJECT, "restart", True)
    assert "gpu.count" in report.action.reason
    assert (asked(fleet), tokens(tmp_path)) == ((1, 0), 0)
    report = fleet.start()  # the same disk, and still no GPU
    assert (report.action.kind, report.action.done) == ("reallocate", True)
    assert (asked(fleet), tokens(tmp_path)) == ((1, 1), 1)
    fleet.start("m-2")  # another machine has its own restart
    assert asked(fleet) == (2, 1)


def test_a_restart_that_helps_costs_nobody_a_node(tmp_path: Path) -> None:
    looks: list[int] = []

    def comes_back(_: object) -> float:
        looks.append(1)
        return 0.0 if len(looks) <= 2 else 1.0

    with fleet_of_one(tmp_path, node_check(comes_back, "gpu.count", hard=True, at_least=1.0)) as fleet:
        assert fleet.start().action.kind == "restart"
        assert fleet.start().verdict is Verdict.ACCEPT
        assert asked(fleet) == (1, 0)


def test_a_machine_whose_disk_was_lost_is_not_restarted_in_a_circle(fleet: FleetOfOne, tmp_path: Path) -> None:
    fleet.start()
    shutil.rmtree(tmp_path / "m-1")
    assert fleet.start().action.kind == "reallocate"
    assert asked(fleet) == (1, 1)


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 404}, {"status": 500}, {"cut": True}])
def test_where_the_platform_does_not_restart_the_next_step_follows(fleet: FleetOfOne, fault: dict[str, object]) -> None:
    fleet.imds.fault("POST", "/v1/restart", **fault)
    assert fleet.start().action.kind == "reallocate"
    assert asked(fleet) == (1, 1)


def test_without_a_bucket_the_disk_remembers(tmp_path: Path) -> None:
    with fleet_of_one(tmp_path, NO_GPU) as fleet:
        fleet.stores = ()
        assert [fleet.start().action.kind for _ in range(3)] == ["restart", "reallocate", "none"]
        assert asked(fleet) == (1, 1)


def test_who_only_wants_a_report_is_not_restarted(fleet: FleetOfOne) -> None:
    assert fleet.start(PREFLIGHT_ON_REJECT="report").action.kind == "none"
    assert asked(fleet) == (0, 0)


def test_other_findings_are_not_restarted(tmp_path: Path) -> None:
    with fleet_of_one(tmp_path, node_check(lambda _: 3.0, "gpu.memory_errors", hard=True, at_least=10.0)) as fleet:
        assert fleet.start().action.kind == "reallocate"
        assert asked(fleet) == (0, 1)
