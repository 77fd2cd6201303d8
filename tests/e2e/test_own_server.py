"""The FastAPI server of docs/operations.md, run as the page says: READY, BUSY and FAILED seen, its number arrives."""

from __future__ import annotations

import re
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest
import requests

from tests.e2e.test_supervision import node, page
from tests.support.node import Node
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
UVICORN = Path(sys.executable).with_name("uvicorn")


def example(repository: Path) -> tuple[str, list[str]]:
    """`server.py` and the words after `preflight up --`, as printed."""
    text = (repository / "docs" / "operations.md").read_text()
    [server] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [words] = re.findall(r"^preflight up -- (uvicorn .*)$", text, re.MULTILINE)
    return server, ["" if word == "''" else word for word in words.split()]


def serving(one: Node) -> psutil.Process:
    """The server's process."""
    assert one.process is not None
    return next(kid for kid in psutil.Process(one.process.pid).children() if "server:app" in kid.cmdline())


def test_the_documented_server(repository: Path, tmp_path: Path) -> None:
    server, words = example(repository)
    assert "...  # the model's work" in server
    work = tmp_path / "work"
    home = tmp_path / "node"
    home.mkdir()
    # The model: it works for as long as a file is there.
    model = f"while __import__('os').path.exists({str(work)!r}): time.sleep(0.05)"
    (home / "server.py").write_text(server.replace("...  # the model's work", model))
    probe = node(home, command=("placeholder",))
    command = tuple(str(probe.port) if word == "8000" else word for word in (str(UVICORN), *words[1:]))
    with node_on(probe, command) as one:
        one.wait_ready(90)
        until(lambda: page(one)["condition"] == "READY", 60, lambda: page(one)["why"])
        root = f"http://127.0.0.1:{one.port}"
        assert requests.get(f"{root}/health", timeout=10).json() == {"status": "READY"}
        assert requests.get(f"http://[::1]:{one.port}/health", timeout=10).status_code == 200  # the gateway's family

        work.touch()
        asked = threading.Thread(target=requests.post, args=(f"{root}/transcribe?seconds_of_audio=164",))
        asked.start()
        try:
            until(lambda: page(one)["condition"] == "BUSY", 60, lambda: page(one)["why"])
            assert one.probe("/readyz")[0] == 200
        finally:
            work.unlink()
            asked.join(30)
        until(lambda: page(one)["condition"] == "READY", 60, lambda: page(one)["why"])
        until(
            lambda: 'preflight_app_metric{name="rtf"}' in one.probe("/metrics")[1], 60, lambda: one.probe("/metrics")[1]
        )

        frozen = serving(one)
        frozen.send_signal(signal.SIGSTOP)
        until(lambda: page(one)["condition"] == "FAILED", 90, lambda: page(one)["why"])
        assert one.probe("/readyz")[0] == 503
        assert one.probe("/livez")[0] == 200
        frozen.send_signal(signal.SIGCONT)
        until(lambda: page(one)["condition"] == "READY", 60, lambda: page(one)["why"])
        assert one.terminate(60) == 0


def node_on(prepared: Node, command: tuple[str, ...]) -> Node:
    """The same node around that command."""
    prepared.command = ("up", "--", *command)
    prepared.environ["PREFLIGHT_READY_URL"] = f"http://127.0.0.1:{prepared.port}/health"
    prepared.environ["PREFLIGHT_METRIC_WINDOW_S"] = "2.5"
    return prepared
