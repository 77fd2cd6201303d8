"""As in the images: tini is PID 1 of a process namespace of its own, `preflight up` its child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_supervision import APP, page
from tests.support.imds import fake_imds
from tests.support.node import PREFLIGHT, Node
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
# Without root there is no namespace: then tini is no PID 1, but the reaper of all that is below it.
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "tini", "--") if os.getuid() == 0 else ("tini", "-s", "--")


class Contained(Node):
    """A node whose first process is tini."""

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*CONTAINER, str(PREFLIGHT), *self.command],
                env=self.environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def first(self) -> psutil.Process:
        """tini."""
        assert self.process is not None
        outer = psutil.Process(self.process.pid)
        return next(one for one in (outer, *outer.children()) if one.name() == "tini")

    def zombies(self) -> list[psutil.Process]:
        """Who died and was not buried by tini or by us (a living parent's dead children are its own affair)."""
        tini = self.first()
        ours = [*tini.children(), *(kid for child in tini.children() for kid in child.children())]
        return [one for one in ours if one.status() == psutil.STATUS_ZOMBIE]


def ended(one: Node) -> list[str]:
    """Our services in the order in which they ended."""
    lines = [json.loads(line) for line in one.output().splitlines() if '"a service ended"' in line]
    return [line["service"] for line in lines]


def test_sigterm_stops_jupyterlab_then_saves_then_gives_the_lease_back(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    with fake_imds() as imds:
        environ = {
            "PREFLIGHT_STORE": f"file://{bucket}",
            "SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-0000000000ee",
            "SALAD_METADATA_URI": imds.url,
        }
        with Contained(tmp_path / "node", environ) as one:
            one.wait_ready(120)
            one.wait_saved()
            assert json.loads((bucket / ".preflight" / "lease.json").read_text())["released"] is False
            if os.getuid() == 0:
                assert Path(f"/proc/{one.first().pid}/status").read_text().split("NSpid:")[1].split()[1] == "1"
            (one.folder / "last.ipynb").write_text("{}")
            one.first().send_signal(signal.SIGTERM)
            assert one.process is not None
            assert one.process.wait(90) == 0
            assert ended(one) == ["app", "monitor", "sync"]
            assert (bucket / "last.ipynb").read_text() == "{}"
            assert json.loads((bucket / ".preflight" / "lease.json").read_text())["released"] is True
        assert not [call.path for call in imds.calls if call.method == "POST"]


def test_nobody_stays_unburied(tmp_path: Path) -> None:
    """What a notebook leaves behind: ended before its parent, after its parent, and killed."""
    argv = ("up", "--", sys.executable, str(APP), "orphan")
    environ = {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket"}
    one = Contained(tmp_path / "node", environ, command=argv)
    one.environ["PREFLIGHT_READY_URL"] = f"http://127.0.0.1:{one.port}/"
    with one:
        one.wait_ready(90)
        supervisor = one.first().children()[0]
        for words in ("app.py", "preflight-sync"):
            victim = next(kid for kid in supervisor.children() if words in " ".join(kid.cmdline()))
            victim.kill()
            until(lambda gone=victim: not psutil.pid_exists(gone.pid), 60, one.output)  # type: ignore[misc]
            one.wait_ready(90)
        until(lambda: one.zombies() == [], 60, one.zombies)
        assert one.probe("/livez")[0] == 200
        assert page(one)["condition"] in ("READY", "DEGRADED")
        one.first().send_signal(signal.SIGTERM)
        assert one.process is not None
        assert one.process.wait(90) == 0
