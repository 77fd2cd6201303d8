"""A real JupyterLab as the product starts it, and a logged-in client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from preflight.lab.launch import LabLaunch, LabSettings, prepare
from preflight.lab.settings import KernelCredentials
from tests.support.wait import until
from tests.support.websocket import KernelSocket


@dataclass(frozen=True)
class Password:
    """A secret for tests."""

    text: str

    def reveal(self) -> str:
        return self.text


def free_port() -> int:
    """A port that was free a moment ago, on both families."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as probe:
        return int(probe.getsockname()[1])


class Lab:
    """A running JupyterLab."""

    def __init__(self, launch: LabLaunch, settings: LabSettings, process: subprocess.Popen[bytes], log: Path) -> None:
        self.launch = launch
        self.settings = settings
        self.process = process
        self.log = log

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.settings.port}{path}"

    def login(self, password: str = "correct horse", host: str = "127.0.0.1") -> Client:
        client = Client(self.url(host=host))
        answer = client.post_login(password)
        assert answer.status_code == 302, f"login: {answer.status_code}"
        return client


class Client:
    """A browser's worth of cookies; every call is XSRF-safe."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.session = requests.Session()
        self.session.trust_env = False

    def post_login(self, password: str) -> requests.Response:
        self.session.get(self.root + "/login", timeout=60)
        return self.session.post(
            self.root + "/login",
            data={"password": password, "_xsrf": self.session.cookies.get("_xsrf", "")},
            allow_redirects=False,
            timeout=60,
        )

    def call(self, verb: str, path: str, **options: Any) -> requests.Response:
        headers = {"X-XSRFToken": self.session.cookies.get("_xsrf", "")} | options.pop("headers", {})
        return self.session.request(verb, self.root + path, headers=headers, timeout=90, **options)

    def save(self, path: str, content: Any, kind: str = "notebook") -> requests.Response:
        model = {"type": kind, "content": content, "format": "json" if kind == "notebook" else "text"}
        return self.call("PUT", f"/api/contents/{path}", json=model)

    def run(self, code: str, timeout_s: float = 90.0, kernel: str = "python3") -> str:
        """Run code in a fresh kernel through the websocket, as a notebook does; its stdout."""
        made = self.call("POST", "/api/kernels", json={"name": kernel})
        assert made.status_code == 201, made.text
        kernel_id = made.json()["id"]
        try:
            cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.session.cookies)
            with KernelSocket(self.root, kernel_id, cookies) as kernel_socket:
                return kernel_socket.execute(code, timeout_s)
        finally:
            self.call("DELETE", f"/api/kernels/{kernel_id}")


def notebook(*sources: str) -> dict[str, Any]:
    """A notebook of code cells."""
    cells = [
        {"cell_type": "code", "id": f"cell-{n}", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for n, text in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@contextmanager
def running_lab(
    folder: Path, environ: Mapping[str, str] | None = None, *, password: str = "correct horse", **settings: Any
) -> Iterator[Lab]:
    """JupyterLab over `folder`/data with its state in `folder`/state, stopped with everything it started."""
    chosen = LabSettings(
        data_dir=folder / "data",
        state_dir=folder / "state",
        port=settings.pop("port", 0) or free_port(),
        password=Password(password),
        **settings,
    )
    launch = prepare(chosen, {**os.environ, **(environ or {})})
    log = folder / "jupyter.log"
    with open(log, "ab") as sink:
        process = subprocess.Popen(
            launch.argv, env=dict(launch.env), cwd=launch.cwd, stdout=sink, stderr=sink, start_new_session=True
        )
    lab = Lab(launch, chosen, process, log)
    try:
        until(lambda: _answers(lab), 90)
        yield lab
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], *, how: signal.Signals = signal.SIGTERM) -> None:
    """End the process and its whole group."""
    if process.poll() is None:
        process.send_signal(how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _answers(lab: Lab) -> bool:
    assert lab.process.poll() is None, lab.log.read_text()[-3000:]
    try:
        return requests.get(lab.url("/api"), timeout=2).status_code == 200
    except requests.RequestException:
        return False


def read_json(path: Path) -> Any:
    """A file's JSON."""
    return json.loads(path.read_text())


__all__ = ["Client", "KernelCredentials", "Lab", "Password", "free_port", "notebook", "running_lab"]
