"""What the page may ask and see: only after login, only with the token, only a closed list, never a secret."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from preflight.desk import Desk
from preflight.lab import actions, line, snapshot
from preflight.lab.documents import History, write_history
from preflight.lab.settling import settle
from sync.control import socket_path
from sync.status import State, Status, write_status
from tests.support.jupyter import Client, Lab, notebook, running_lab
from tests.support.wait import until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab alone, pinging every second."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder, {"AWS_SECRET_ACCESS_KEY": "secret-key"}, ping_every_s=1) as running:
        yield running


def say(lab: Lab, **fields: Any) -> None:
    """What the sync would publish."""
    write_status(lab.settings.state_dir, Status(**{"updated_at": time.time(), "state": State.SAVED, **fields}))


def test_needs_a_login_and_the_token(lab: Lab) -> None:
    assert requests.get(lab.url("/preflight/api/snapshot"), timeout=60).status_code == 403
    assert requests.post(lab.url("/preflight/api/act"), json={"action": "flush"}, timeout=60).status_code == 403
    client = lab.login()
    forged = client.session.post(lab.url("/preflight/api/act"), json={"action": "flush"}, timeout=60)
    assert forged.status_code == 403, "no XSRF token"


def test_the_snapshot_tells_and_hides(lab: Lab) -> None:
    say(lab, store="s3://bucket/thesis", pending_files=2, pending=("a.txt",))
    answer = lab.login().call("GET", "/preflight/api/snapshot")
    assert answer.headers["Cache-Control"] == "no-store"
    seen = answer.json()
    assert seen["sync"]["status"]["pending_files"] == 2
    assert seen["sync"]["stale"] is False
    assert seen["report"] is None, "no supervisor runs here, and that is no error"
    assert seen["memory"]["total_bytes"] > seen["memory"]["used_bytes"] > 0
    assert seen["gpus"] == []
    assert "secret" not in answer.text


def test_old_news_is_stale(lab: Lab) -> None:
    say(lab, updated_at=time.time() - 61)
    assert lab.login().call("GET", "/preflight/api/snapshot").json()["sync"]["stale"] is True


def test_a_change_is_pushed(lab: Lab) -> None:
    """Nobody asks, and no fact is told before it is one. Within a second of it, says `make bench`; printed here."""
    with closing(subscribed(lab, lab.login())) as events:
        events.settimeout(60)
        for number in (7, 8, 9):
            began_s = time.monotonic()
            said_at = time.time()
            say(lab, state=State.SAVING, pending_files=number, updated_at=said_at)
            while True:
                event = json.loads(events.recv())
                if not event.get("schema_id", "").endswith("status/v1"):
                    continue
                seen = event["sync"]["status"]
                if seen["pending_files"] == number:
                    break
                assert number == 7 or seen["pending_files"] == number - 1, "no fact is left out or invented"
            print(f"on the page {time.monotonic() - began_s:.2f} s after the fact")
            assert seen["updated_at"] == pytest.approx(said_at), "this very document, not another of the same number"


def test_errands_reach_whom_they_should(lab: Lab) -> None:
    got: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        got.append(request)
        return {"ok": True, "exit": 0}

    listener = line.Listener(socket_path(lab.settings.state_dir), answer)
    listener.start()
    try:
        client = lab.login()
        done = client.call("POST", "/preflight/api/act", json={"action": "flush", "cmd": "release", "evil": 1})
        assert done.json()["ok"] is True
        assert got == [{"cmd": "flush", "timeout_s": actions.FLUSH_TIMEOUT_S}]
    finally:
        listener.stop()
    silent = client.call("POST", "/preflight/api/act", json={"action": "flush"}).json()
    assert silent["ok"] is False
    assert silent["why"]
    for wrong in ({"action": "format"}, {}, {"action": "keep", "path": "a"}, {"action": ["flush"]}):
        assert client.call("POST", "/preflight/api/act", json=wrong).status_code == 400


@pytest.mark.parametrize(("keep", "left"), [("path", "mine"), ("copy", "theirs")])
def test_settling_keeps_one_version_of_a_known_conflict(tmp_path: Path, keep: str, left: str) -> None:
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b").write_text("theirs")
    known = [{"path": "a", "copy": "b"}]
    assert settle(tmp_path, [], "a", "b", keep) != ""
    assert settle(tmp_path, known, "a", "../etc/passwd", keep) != ""
    assert settle(tmp_path, known, "a", "b", "both") != ""
    assert settle(tmp_path, known, "a", "b", keep) == ""
    assert [path.read_text() for path in tmp_path.iterdir()] == [left]
    assert settle(tmp_path, known, "a", "b", "path") != "", "it is gone"


def test_memory_is_the_containers(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 1000 kB\nMemAvailable: 400 kB\n")
    assert snapshot.memory(tmp_path / "none", meminfo) == {"total_bytes": 1_024_000, "used_bytes": 614_400}
    for name, text in (("memory.max", "500000"), ("memory.current", "300000"), ("memory.stat", "inactive_file 100000")):
        (tmp_path / name).write_text(text + "\n")
    assert snapshot.memory(tmp_path, meminfo) == {"total_bytes": 500_000, "used_bytes": 200_000}
    (tmp_path / "memory.max").write_text("max\n")
    assert snapshot.memory(tmp_path, meminfo)["total_bytes"] == 1_024_000


@pytest.mark.parametrize(
    ("sample", "texts"),
    [
        ({"up": False, "why": "fell off the bus"}, ["fell off the bus"]),
        ({"up": True}, []),
        ({"up": True, "memory_used_bytes": 6e9, "memory_total_bytes": 24e9}, ["6.0 of 24.0 GB"]),
        (
            {"up": True, "utilization_ratio": 0.5, "temperature_c": 70, "throttled": ["heat"]},
            ["50% busy, 70 °C", "heat"],
        ),
    ],
)
def test_the_gpu_in_words(sample: dict[str, Any], texts: list[str]) -> None:
    assert [bar["text"] for bar in snapshot.gpu_gauges(sample)] == texts


def test_the_desk_is_private_and_answers_a_closed_list(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)  # beyond what a socket's address may be
    desk = Desk(
        deep, {"PATH": "/usr/bin", "PREFLIGHT_STORE": f"file://{tmp_path}/bucket", "PREFLIGHT_STATE_DIR": str(deep)}
    )
    desk.start()
    try:
        path = deep / "desk.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        assert line.ask(path, {"cmd": "ping"}, 60) == {"ok": True}
        assert line.ask(path, {"cmd": "sh"}, 60)["ok"] is False
        done = line.ask(path, {"cmd": "benchmark", "sizes_bytes": [10], "repeats": 1}, 60)
        assert {row["verb"] for row in done["benchmark"]["rows"]} == {"put", "get", "head", "delete"}
        assert [row["error"] for row in done["benchmark"]["rows"]] == ["", "", "", ""]
        wrong = line.ask(path, {"cmd": "benchmark", "sizes_bytes": ["; rm"], "repeats": 1}, 60)
        assert wrong["ok"] is False
    finally:
        desk.stop()
    with pytest.raises(line.NoAnswer):
        line.ask(deep / "desk.sock", {"cmd": "ping"}, 1)


def test_the_bundle_was_built_from_these_sources(repository: Path) -> None:
    """`preflight/lab/ui/build` makes it; the bundle is committed so that nobody needs npm."""
    ui = repository / "preflight" / "lab" / "ui"
    spec = importlib.util.spec_from_file_location("digest", ui / "digest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built = (repository / "preflight" / "lab" / "labextensions" / "preflight-lab" / "sources.sha256").read_text()
    sources, bundle = built.split()
    assert sources == module.sources(), "run preflight/lab/ui/build and commit the bundle"
    assert bundle == module.bundle(), "the bundle is not what the build wrote: run preflight/lab/ui/build"


# --- gateways cut sockets that are idle for 100 s: every kind must be pinged ---


def connected(lab: Lab, client: Client, path: str) -> websocket.WebSocket:
    """A websocket with the client's cookies."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.session.cookies)
    return websocket.create_connection(
        lab.url(path).replace("http", "ws", 1), cookie=cookies, origin=lab.url(), timeout=60
    )


def subscribed(lab: Lab, client: Client) -> websocket.WebSocket:
    """The event stream."""
    return connected(lab, client, "/api/events/subscribe")


def is_pinged(link: websocket.WebSocket, within_s: float = 60.0) -> bool:
    """Whether the server pings an idle client."""
    ends_at = time.monotonic() + within_s
    link.settimeout(within_s)
    try:
        while time.monotonic() < ends_at:
            code, _ = link.recv_data(control_frame=True)
            if code == websocket.ABNF.OPCODE_PING:
                return True
    except websocket.WebSocketTimeoutException:
        return False
    finally:
        link.close()
    return False


def test_all_five_kinds_of_sockets_are_pinged(lab: Lab) -> None:
    client = lab.login()
    client.save("pinged.ipynb", notebook("1"))
    kernel = client.call("POST", "/api/kernels", json={"name": "python3"}).json()["id"]
    terminal = client.call("POST", "/api/terminals", json={}).json()["name"]
    session = client.call(
        "PUT", "/api/collaboration/session/pinged.ipynb", json={"format": "json", "type": "notebook"}
    ).json()
    room = f"{session['format']}:{session['type']}:{session['fileId']}"
    paths = {
        "kernel": f"/api/kernels/{kernel}/channels",
        "terminal": f"/terminals/websocket/{terminal}",
        "events": "/api/events/subscribe",
        "document": f"/api/collaboration/room/{room}?sessionId={session['sessionId']}",
        "awareness": "/api/collaboration/room/JupyterLab:globalAwareness",
    }
    links = {name: connected(lab, client, path) for name, path in paths.items()}
    pinged: dict[str, bool] = {}
    threads = [
        threading.Thread(target=lambda name=name, link=link: pinged.update({name: is_pinged(link)}))  # type: ignore[misc]
        for name, link in links.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.call("DELETE", f"/api/kernels/{kernel}")
    client.call("DELETE", f"/api/terminals/{terminal}")
    assert pinged == dict.fromkeys(paths, True)
    until(lambda: client.call("GET", "/api/kernels").json() == [], 60)


def test_a_proxy_that_rewrites_host_needs_its_origin_named(tmp_path: Path) -> None:
    with running_lab(tmp_path, public_origin="https://lab.example", collaboration=False) as lab:
        client = lab.login()
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.session.cookies)
        url = lab.url("/api/events/subscribe").replace("http", "ws", 1)
        websocket.create_connection(url, cookie=cookies, origin="https://lab.example", timeout=60).close()
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(url, cookie=cookies, origin="https://evil.example", timeout=60)
        saved = client.save("alone.ipynb", notebook("saves without collaboration too"))
        assert saved.status_code == 201


def test_tabs_whose_history_did_not_come_are_asked_to_reload(tmp_path: Path) -> None:
    """And not refused for ever, nor merged: the server knows the document, and starts it from the file."""
    data = tmp_path / "data"
    data.mkdir()
    body = json.dumps(notebook("as it is on disk"))
    (data / "large.ipynb").write_text(body)
    write_history(data, History("id-1", "large.ipynb", "json", "notebook", (), b""))
    (data / ".preflight-lab" / "sessions.json").write_text("{}")
    with running_lab(tmp_path) as lab:
        tab = connected(lab, lab.login(), "/api/collaboration/room/json:notebook:id-1?sessionId=of-the-node-before")
        with closing(tab):
            tab.settimeout(60)
            code, payload = tab.recv_data()
            while code != websocket.ABNF.OPCODE_CLOSE:
                code, payload = tab.recv_data()
            tab.shutdown()  # `close` alone leaves the socket of a connection that the server closed
        assert int.from_bytes(payload[:2], "big") == 1003
        assert json.loads(payload[2:])["reloadable"] is True
        assert json.loads((data / "large.ipynb").read_text()) == json.loads(body)
