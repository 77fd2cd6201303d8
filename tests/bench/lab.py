"""JupyterLab's side: ready beside a bare `jupyter lab`, the page's weight, and how fast a fact is on it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import websocket

from preflight.lab.launch import LabSettings, prepare
from sync.status import State, Status, write_status
from tests.bench.peers import Bucket
from tests.bench.processes import BIN, clean_environ, cpu_s
from tests.bench.rows import Row, percentile
from tests.support.browser import Browser
from tests.support.healing import FIRST_CELL, healed_after_s, opened, replaced, typed_without_a_node
from tests.support.jupyter import Client, Lab, Password, free_port, notebook, running_lab
from tests.support.node import Node
from tests.support.synced import Machine
from tests.support.wait import until

ROOT = Path(__file__).resolve().parents[2]
COLLABORATION = ("jupyter_server_ydoc", "jupyter_server_nbmodel", "jupyter_server_fileid")


def rows(work: Path, bucket: Bucket, *, quick: bool) -> list[Row]:
    """Every row of this file."""
    return [
        ready(5),
        weight(),
        pushed(work / "pushed", 10 if quick else 50),
        saves(work / "saves", 10 if quick else 40),
        heals(work / "heals", 1 if quick else 5),
    ]


@contextlib.contextmanager
def _bare() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`jupyter lab` of the same environment, with its own settings and the collaboration off."""
    with tempfile.TemporaryDirectory() as home:
        config = Path(home, ".jupyter")
        config.mkdir()
        off = {"ServerApp": {"jpserver_extensions": dict.fromkeys(COLLABORATION, False)}}
        (config / "jupyter_server_config.json").write_text(json.dumps(off))
        port = free_port()
        argv = [BIN / "jupyter-lab", "--no-browser", f"--port={port}", "--allow-root", "--ip=127.0.0.1"]
        with _running(argv, clean_environ(HOME=home), Path(home)) as process:
            yield process, port


@contextlib.contextmanager
def _ours() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """As the supervisor starts it, with everything on; the node's checks are not in this."""
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        settings = LabSettings(
            data_dir=Path(home, "data"), state_dir=Path(home, "state"), port=port, password=Password("x")
        )
        launch = prepare(settings, clean_environ(HOME=home))
        with _running(list(launch.argv), dict(launch.env), launch.cwd) as process:
            yield process, port


@contextlib.contextmanager
def _running(argv: list[object], env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(one) for one in argv], env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/api", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def ready(count: int) -> Row:
    """From its start to the first 200 under `/api`, in turn."""
    walls: dict[str, list[float]] = {"bare": [], "ours": []}
    works: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(count):
        for name, start in (("bare", _bare), ("ours", _ours)):
            began = time.monotonic()
            with start() as (process, port):
                until(lambda port=port: _answers(port), 120)  # type: ignore[misc]
                walls[name].append(time.monotonic() - began)
                works[name].append(cpu_s(process.pid))
    wall = {name: percentile(took, 0.5) for name, took in walls.items()}
    work = {name: percentile(took, 0.5) for name, took in works.items()}
    return Row(
        "JupyterLab ready, by itself",
        "<= 1 s later than bare",
        f"{wall['ours']:.1f} s ({work['ours']:.1f} s CPU)",
        f"bare, collaboration off: {wall['bare']:.1f} s ({work['bare']:.1f} s CPU)",
        f"{wall['ours'] / wall['bare']:.2f}x",
        wall["ours"] - wall["bare"] <= 1.0,
        note=f"{count} runs each in turn; ours with collaboration and our extension, and the password's hash",
    )


def weight() -> Row:
    """What our extension adds to the page."""
    static = ROOT / "preflight" / "lab" / "labextensions" / "preflight-lab" / "static"
    total = sum(file.stat().st_size for file in static.glob("*.js"))
    return Row("our extension in the page", "<= 150 kB", f"{total / 1000:.0f} kB", met=total <= 150_000)


def _subscribed(lab: Lab, client: Client) -> websocket.WebSocket:
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.session.cookies)
    url = lab.url("/api/events/subscribe").replace("http", "ws", 1)
    return websocket.create_connection(url, cookie=cookies, origin=lab.url(), timeout=60)


def pushed(work: Path, count: int) -> Row:
    """From the status on disk to the event in a browser's socket."""
    took = []
    with running_lab(work) as lab, contextlib.closing(_subscribed(lab, lab.login())) as events:
        for number in range(count):
            began = time.monotonic()
            write_status(
                lab.settings.state_dir, Status(updated_at=time.time(), state=State.SAVING, pending_files=number)
            )
            while True:
                event = json.loads(events.recv())
                heard = (event.get("sync") or {}).get("status") or {}
                if heard.get("pending_files") == number:
                    break
            took.append(time.monotonic() - began)
    p50, worst = percentile(took, 0.5), max(took)
    return Row("status on the page after the fact", "<= 1 s", f"p50 {p50:.2f} s, worst {worst:.2f} s", met=worst <= 1.0)


def saves(work: Path, count: int) -> Row:
    """A save made in the page, until it is in the bucket: told by JupyterLab, and found by the watcher alone."""
    machine = Machine(work, {"PREFLIGHT_STORE": f"file://{work}/bucket"})
    machine.start(timeout_s=60)
    told, found = [], []
    try:
        with running_lab(work, collaboration=False) as lab:
            client = lab.login()
            for number in range(count):
                told.append(_until_there(work, f"told-{number}.ipynb", lambda name: client.save(name, notebook("1"))))
                found.append(_until_there(work, f"found-{number}.ipynb", lambda name: _replaced(machine.data / name)))
    finally:
        machine.clean()
    return Row(
        "save in the page -> in bucket (local store)",
        "",
        f"p50 {percentile(told, 0.5):.3f} s, p99 {percentile(told, 0.99):.3f} s",
        f"the same file found by the watcher: p50 {percentile(found, 0.5):.3f} s, p99 {percentile(found, 0.99):.3f} s",
        note="from the moment the save is answered",
    )


def heals(work: Path, count: int) -> Row:
    """Two tabs, a node killed while one of them types, and a new node: until both show everything, by themselves."""
    took = []
    with Browser() as browser:
        for number in range(count):
            home = work / str(number)
            environ = {"PREFLIGHT_STORE": f"file://{home}/bucket"}
            first, second = Node(home / "first", environ), Node(home / "second", environ)
            replaced(first, second)
            with first:
                first.wait_ready(120)
                first.wait_saved(90)
                first.browser().save("thesis.ipynb", notebook("start = 1"))
                tabs = opened(browser, f"http://127.0.0.1:{first.port}", "thesis.ipynb")
                tabs[0].click_through(FIRST_CELL)
                tabs[0].do("keyboard.press", "End")
                tabs[0].do("keyboard.type", " #one")
                file = home / "bucket" / "thesis.ipynb"
                until(lambda file=file: file.exists() and b"#one" in file.read_bytes(), 90)  # type: ignore[misc]
                tabs[0].do("keyboard.type", " #mid-keystroke")
                first.vanish()
            typed_without_a_node(tabs[0], " #while-down")
            with second:
                took.append(healed_after_s(second, tabs, "start = 1 #one #mid-keystroke #while-down"))
            for tab in tabs:
                tab.do("close")
    worst = max(took)
    return Row(
        "two open tabs healed by the next node",
        "<= 10 s",
        f"p50 {percentile(took, 0.5):.1f} s, worst {worst:.1f} s",
        met=worst <= 10.0,
        note=f"{count} nodes killed while a tab types; from the first answer of the new JupyterLab",
    )


def _until_there(work: Path, name: str, save: object) -> float:
    save(name)  # type: ignore[operator]
    began = time.monotonic()
    until(lambda: (work / "bucket" / name).exists(), 60)
    return time.monotonic() - began


def _replaced(path: Path) -> None:
    """As JupyterLab's contents do: beside, then renamed."""
    temp = path.with_name(f".~{path.name}.saving")
    with open(temp, "w") as file:
        json.dump(notebook("1"), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, path)
