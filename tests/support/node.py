"""A rented node for tests: a real `preflight up`, its folders, and what a person or a platform does to it."""

from __future__ import annotations

import operator
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import requests

from tests.support.servers import free_ports
from tests.support.wait import until

ANSWER_S = 30.0  # generous: how fast an answer comes is for the bench to say
PREFLIGHT = Path(sys.executable).with_name("preflight")


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    return free_ports(1)[0]


class Node:
    """One container's life. Use as a context manager: nothing survives the block."""

    def __init__(self, home: Path, environ: Mapping[str, str], *, command: tuple[str, ...] = ("up",)) -> None:
        self.home = home
        self.folder = home / "data"
        self.port, self.probe_port = free_port(), free_port()
        self.log = home / "preflight.log"
        home.mkdir(parents=True, exist_ok=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PREFLIGHT_DATA_DIR": str(self.folder),
            "PREFLIGHT_STATE_DIR": str(home / "state"),
            "PREFLIGHT_PORT": str(self.port),
            "PREFLIGHT_PROBE_PORT": str(self.probe_port),
            "JUPYTERLAB_PW": "correct horse",
            **environ,
        }
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish(keep_folder=True)

    def start(self) -> None:
        """Run the command as a container would: no terminal, its own session, output kept in `log`."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [PREFLIGHT, *self.command],
                env=self.environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def output(self) -> str:
        """Everything that the node printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def probe(self, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
        """Status and body of one GET on the probe port; status 0 when nothing listens."""
        try:
            answer = requests.get(f"http://{host}:{self.probe_port}{path}", timeout=ANSWER_S)
        except requests.RequestException:
            return 0, ""
        return answer.status_code, answer.text

    def report(self) -> dict[str, object]:
        """The last Report."""
        answer: dict[str, object] = requests.get(f"http://127.0.0.1:{self.probe_port}/report", timeout=ANSWER_S).json()
        return answer

    def sync(self) -> dict[str, object]:
        """The sync status as the probe port serves it."""
        answer: dict[str, object] = requests.get(f"http://127.0.0.1:{self.probe_port}/sync", timeout=ANSWER_S).json()
        return answer

    def wait_ready(self, limit_s: float = 120) -> None:
        """Until `/readyz` answers 200; shows the log when it does not."""
        until(lambda: self.probe("/readyz")[0] == 200 or self.exited(), limit_s, lambda: self.output()[-4000:])
        assert not self.exited(), self.output()[-4000:]

    def wait_saved(self, limit_s: float = 90) -> None:
        """Until sync says saved with nothing pending."""
        until(
            lambda: operator.itemgetter("state", "pending_files")(self.sync()) == ("saved", 0),
            limit_s,
            lambda: f"{self.sync()}\n{self.output()[-3000:]}",
        )

    def exited(self) -> bool:
        """Whether the supervisor is gone."""
        return self.process is not None and self.process.poll() is not None

    def terminate(self, limit_s: float = 90) -> int:
        """SIGTERM, as a platform stops a container; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def vanish(self, *, keep_folder: bool = False) -> None:
        """SIGKILL everything at once and, as on a lost node, delete the disk."""
        if self.process is not None:
            try:
                family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            except psutil.NoSuchProcess:
                family = []
            for member in family:
                try:
                    member.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue
            self.process.wait(10)
            psutil.wait_procs(family, timeout=10)
        if not keep_folder:
            shutil.rmtree(self.home / "state", ignore_errors=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def browser(self, host: str = "127.0.0.1") -> Browser:
        """A logged-in session with JupyterLab."""
        return Browser(f"http://{host}:{self.port}", self.environ["JUPYTERLAB_PW"])


class Browser:
    """What a browser does, over plain HTTP: the password form, the XSRF cookie, the contents API."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        page = self.session.get(f"{url}/login", timeout=10)
        match = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert match, page.text[:500]
        answer = self.session.post(
            f"{url}/login", data={"password": password, "_xsrf": match[1]}, timeout=30, allow_redirects=False
        )
        assert answer.status_code == 302, f"the password was refused: {answer.status_code} {answer.text[:300]}"

    def save(self, path: str, content: object, kind: str = "notebook") -> dict[str, object]:
        """Save through the contents API, as Ctrl-S does."""
        model = {"type": kind, "format": "json" if kind == "notebook" else "text", "content": content}
        answer = self.session.put(
            f"{self.url}/api/contents/{path}",
            json=model,
            headers={"X-XSRFToken": self.session.cookies.get("_xsrf", "")},
            timeout=30,
        )
        assert answer.status_code in (200, 201), answer.text
        saved: dict[str, object] = answer.json()
        return saved


def notebook(*sources: str) -> dict[str, object]:
    """A small valid notebook with one code cell a source."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
