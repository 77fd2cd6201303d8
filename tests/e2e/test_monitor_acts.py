"""From a number that user code reports to a node that is handed back: saved first, counted, once; or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from preflight.app_metrics import socket_path
from preflight.lab.line import ask
from preflight.reporting import VARIABLE, report_metric
from tests.e2e.test_clouds import on
from tests.e2e.test_supervision import page
from tests.support.node import Node
from tests.support.prober_platforms import GONGJI, SALAD
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
FAST = {"PREFLIGHT_METRIC_WINDOW_S": "2.5", "PREFLIGHT_METRIC_RTF_AT_LEAST": "20"}


@pytest.fixture
def reporting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process speaks as code on the node would."""
    monkeypatch.setenv(VARIABLE, str(socket_path(tmp_path / "node" / "state")))


def monitored(one: Node) -> dict[str, Any]:
    """What the monitor found, by name."""
    return {finding["name"]: finding for finding in page(one)["monitor"]["findings"]}


def reported_until(one: Node, value: float, condition: Any, limit_s: float = 60) -> None:
    """Report the value again and again until the condition holds."""
    until(lambda: (report_metric("rtf", value, better="higher"), condition())[1], limit_s, lambda: one.output()[-3000:])


@pytest.mark.usefixtures("reporting")
def test_a_slow_node_is_saved_and_handed_back_once(tmp_path: Path) -> None:
    with on(SALAD, tmp_path / "node", **FAST, PREFLIGHT_MONITOR_ACTION="reallocate") as (one, imds):
        one.wait_ready()
        one.wait_saved()
        until(lambda: report_metric("rtf", 82.0), 60, lambda: os.environ[VARIABLE])
        until(lambda: "preflight_app_metric" in one.probe("/metrics")[1], 60)
        (one.folder / "result.txt").write_text("saved before leaving")
        reported_until(one, 5.0, lambda: imds.reallocations)
        assert (tmp_path / "node" / "bucket" / "result.txt").read_text() == "saved before leaving"
        assert "app.rtf" in imds.reallocations[0]
        until(lambda: page(one)["condition"] == "DRAINING", 60, lambda: page(one)["why"])
        assert one.probe("/livez")[0] == 200
        for _ in range(20):
            report_metric("rtf", 5.0)
        assert len(imds.reallocations) == 1
        assert list((tmp_path / "node" / "bucket" / ".preflight").rglob("*token*"))


@pytest.mark.usefixtures("reporting")
@pytest.mark.parametrize("action", ["report", "reallocate-when-idle"])
def test_it_is_only_shown_unless_asked_for(tmp_path: Path, action: str) -> None:
    with on(SALAD, tmp_path / "node", **FAST, PREFLIGHT_MONITOR_ACTION=action) as (one, imds):
        one.wait_ready()
        one.wait_saved()
        reported_until(one, 5.0, lambda: "app.rtf" in monitored(one))
        assert "below 20" in monitored(one)["app.rtf"]["why"]
        assert one.probe("/readyz")[0] == 200
        until(lambda: page(one)["condition"] == "DEGRADED", 60, lambda: page(one)["why"])
        reported_until(one, 90.0, lambda: "app.rtf" not in monitored(one))
        assert imds.reallocations == []


@pytest.mark.usefixtures("reporting")
def test_what_cannot_be_saved_keeps_the_node(tmp_path: Path) -> None:
    environ = {**FAST, "PREFLIGHT_MONITOR_ACTION": "reallocate", "PREFLIGHT_FLUSH_TIMEOUT_S": "5"}
    with on(SALAD, tmp_path / "node", **environ) as (one, imds):
        one.wait_ready()
        one.wait_saved()
        bucket = tmp_path / "node" / "bucket"
        bucket.rename(bucket.with_name("gone"))
        bucket.write_text("in the way: nothing can be stored")
        (one.folder / "unsaved.txt").write_text("only here")
        reported_until(one, 5.0, lambda: "node kept" in one.output(), 150)
        assert imds.reallocations == []
        assert one.probe("/readyz")[0] == 200


@pytest.mark.usefixtures("reporting")
def test_nothing_sent_to_the_socket_hurts(tmp_path: Path) -> None:
    import socket

    with on(GONGJI, tmp_path / "node", **FAST) as (one, _):
        one.wait_ready()
        until(lambda: report_metric("rtf", 82.0), 60, one.output)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            for junk in (
                b"",
                b"{",
                b"[]",
                b"\xff" * 3000,
                b'{"name": "../x", "value": 1}',
                b'{"name": "a", "value": "nan"}',
            ):
                link.sendto(junk, os.environ[VARIABLE])
        reported_until(one, 82.0, lambda: 'preflight_app_metric{name="rtf"} 82.0' in one.probe("/metrics")[1])
        assert 'name="a"' not in one.probe("/metrics")[1]


def test_a_person_can_save_and_move(tmp_path: Path) -> None:
    with on(SALAD, tmp_path / "node") as (one, imds):
        one.wait_ready()
        one.wait_saved()
        (one.folder / "mine.txt").write_text("mine")
        state = tmp_path / "node" / "state"
        until(lambda: (state / "supervisor.sock").exists(), 60, one.output)
        answer = ask(state / "supervisor.sock", {"cmd": "move"}, 90.0)
        assert answer["ok"], (answer, one.output()[-2000:])
        assert len(imds.reallocations) == 1
        assert (tmp_path / "node" / "bucket" / "mine.txt").read_text() == "mine"
        assert ask(state / "supervisor.sock", {"cmd": "dance"}, 10.0)["ok"] is False


def test_a_machine_of_ones_own_cannot_be_moved(tmp_path: Path) -> None:
    with on(GONGJI, tmp_path / "node") as (one, imds):
        one.wait_ready()
        state = tmp_path / "node" / "state"
        until(lambda: (state / "supervisor.sock").exists(), 60, one.output)
        answer = ask(state / "supervisor.sock", {"cmd": "move"}, 30.0)
        assert answer["ok"] is False
        assert "cannot be exchanged" in str(answer["why"])
        assert imds.reallocations == []


def test_the_deletion_cost_follows_what_would_be_lost(tmp_path: Path) -> None:
    with on(SALAD, tmp_path / "node") as (one, imds):
        one.wait_ready()
        one.wait_saved()
        until(lambda: [call for call in imds.calls if call.method == "PUT"], 60, one.output)
        assert imds.deletion_cost == 100  # nothing waits; whether somebody works is not known
        assert json.dumps(page(one)).count("deletion") == 0
