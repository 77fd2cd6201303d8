"""The probe port over real sockets."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from preflight import commands_checks
from preflight.board import Board, Stage
from preflight.evidence import report_document
from preflight.last_report import keep_report
from preflight.metrics import exposition
from preflight.model import Report, Verdict
from preflight.page import page
from preflight.probing import probe
from preflight.server import Listener, PortTaken, page_route, probe_routes
from preflight.supervisor import Service, Started, Tick, View, step
from sync.status import State, Status, write_status
from tests.support.clocks import StillClock


@pytest.fixture
def board() -> Board:
    made = Board(StillClock())
    made.post(machine="m-1", platform="none")
    return made


@pytest.fixture
def listener(board: Board) -> Iterator[Listener]:
    """A probe port."""
    made = Listener(0, probe_routes(board, exposition(board), page))
    yield made
    made.stop()


def get(listener: Listener, path: str, host: str = "127.0.0.1", **headers: str) -> requests.Response:
    return requests.get(f"http://{host}:{listener.port}{path}", headers=headers, timeout=5)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_both_families_answer(listener: Listener, host: str) -> None:
    assert get(listener, "/livez", host).status_code == 200
    assert get(listener, "/readyz", host).status_code == 503
    assert get(listener, "/healthz", host).status_code == 503
    assert get(listener, "/startupz", host).status_code == 503


def test_forms_of_an_answer(listener: Listener) -> None:
    assert get(listener, "/livez").text == "ok\n"
    assert "[+]supervisor ok" in get(listener, "/livez?verbose").text
    assert get(listener, "/readyz/jupyterlab").status_code == 503
    assert get(listener, "/readyz/nothing").status_code == 404
    health = get(listener, "/readyz", Accept="application/health+json")
    assert health.headers["Content-Type"] == "application/health+json"
    assert health.json()["status"] == "fail"
    assert get(listener, "/health/live").json()["status"] == "UP"
    assert get(listener, "/health/ready").json()["status"] == "DOWN"
    assert get(listener, "/metrics").headers["Content-Type"].startswith("text/plain")
    opened = get(listener, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert opened.headers["Content-Type"].startswith("application/openmetrics-text")
    assert opened.text.endswith("# EOF\n")
    assert get(listener, "/report").status_code == 503
    assert get(listener, "/sync").json()["stale"] is True
    assert "<!doctype html>" in get(listener, "/").text
    assert get(listener, "/nothing").status_code == 404
    assert requests.head(f"http://127.0.0.1:{listener.port}/livez", timeout=5).text == ""


def test_the_report_appears_when_there_is_one(listener: Listener, board: Board) -> None:
    report = {"verdict": "accept", "checks": [], "findings": [], "machine": "m-1"}
    board.post(report=report, stage=Stage.RESTORING)
    assert get(listener, "/report").json() == {**report, "bucket": {}}
    assert get(listener, "/startupz").status_code == 200


def test_the_command_and_the_port_show_the_same_report(listener: Listener, board: Board, tmp_path: Path) -> None:
    report = report_document(Report(Verdict.ACCEPT, "m-1", "none", datetime.now(UTC), 0.1, (), ()))
    keep_report(report, tmp_path)
    facts = {"writes": "create-only", "provider": "oss"}
    capability = {"facts": facts, "usable": True, "notes": ["use this folder from one node at a time"]}
    write_status(tmp_path, Status(state=State.SAVED, capability=capability, pid=os.getpid(), updated_at=1.0))
    board.use(tmp_path)
    running, _ = step(View.of((Service("sync"),)), Tick(), 0.0)
    running, _ = step(running, Started("sync", os.getpid()), 0.0)
    board.post(report=report, stage=Stage.RESTORING, view=running)
    environ = {"PREFLIGHT_STATE_DIR": str(tmp_path)}
    assert commands_checks.report(environ, as_json=True, out=(printed := io.StringIO())) == 0
    served = get(listener, "/report").json()
    assert json.loads(printed.getvalue()) == served
    assert served["bucket"]["facts"] == facts
    commands_checks.report(environ, out=(shown := io.StringIO()))
    assert "new files never replace others" in shown.getvalue()
    assert "one node at a time" in shown.getvalue()


def test_wrong_settings_are_a_report_too(listener: Listener, board: Board) -> None:
    board.post(stage=Stage.BAD_SETTINGS, faults=("PREFLIGHT_PORT: no",))
    document = get(listener, "/report").json()
    assert document["verdict"] == "degraded"
    assert document["findings"][0]["why"] == "PREFLIGHT_PORT: no"
    assert get(listener, "/startupz").status_code == 200


def test_a_taken_port_is_said(listener: Listener, board: Board) -> None:
    with pytest.raises(PortTaken, match=str(listener.port)):
        Listener(listener.port, page_route(board, page))


def test_a_stopped_port_can_be_taken_at_once(board: Board) -> None:
    one = Listener(0, page_route(board, page))
    requests.get(f"http://127.0.0.1:{one.port}/", timeout=5)
    one.stop()
    two = Listener(one.port, page_route(board, page))
    two.stop()


def test_silent_clients_cannot_take_all_threads(listener: Listener) -> None:
    silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(40)]
    try:
        assert get(listener, "/livez").status_code == 200
    finally:
        for one in silent:
            one.close()


def test_nothing_of_the_page_names_files_or_the_bucket(listener: Listener) -> None:
    document = get(listener, "/page.json").json()
    assert {"store", "pending", "held", "conflicts", "problems"} & set(document["sync"]) == set()


def test_the_waiting_page_is_no_jupyterlab(board: Board) -> None:
    one = Listener(0, page_route(board, page))
    try:
        assert get(one, "/api").status_code == 503
        assert get(one, "/lab", Accept="text/html").status_code == 200
        assert get(one, "/report").status_code == 404
        assert get(one, "/metrics").status_code == 404
    finally:
        one.stop()


def test_the_exec_probe(listener: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"PREFLIGHT_PROBE_PORT": str(listener.port)}
    assert probe(["live"], environ) == 0
    assert "livez check passed" in capsys.readouterr().out
    assert probe(["ready", "--timeout", "2"], environ) == 1
    assert "[-]jupyterlab failed" in capsys.readouterr().out
    assert probe(["live", "--quiet"], environ) == 0
    assert capsys.readouterr().out == ""
    for wrong in ([], ["dead"], ["live", "--timeout"], ["live", "--timeout", "soon"]):
        assert probe(wrong, environ) == 2
    assert probe(["live"], {"PREFLIGHT_PROBE_PORT": "1"}) == 1
    assert probe(["live"], {"PREFLIGHT_PROBE_PORT": "x"}) == 2
    capsys.readouterr()


def test_many_at_once(listener: Listener) -> None:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(get(listener, "/livez").status_code)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 30


def test_documents_are_json(listener: Listener) -> None:
    for path in ("/sync", "/page.json"):
        json.loads(get(listener, path).text)
