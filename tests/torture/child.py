"""One real sync child and its folder, as the supervisor would run it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sync.control import call
from sync.status import State, Status, read_status
from tests.support.servers import BIN
from tests.support.wait import until


class Child:
    """A node without the rest of the node. `disk` holds folder and state; use it as a context manager."""

    def __init__(self, disk: Path, machine: str, environ: Mapping[str, str]) -> None:
        self.disk = disk
        self.machine = machine
        self.data = disk / "data"
        self.state = disk / "state"
        self.log = disk.parent / f"{disk.name}.log"
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(disk),
            "LANG": "C.UTF-8",
            "PREFLIGHT_DATA_DIR": str(self.data),
            "PREFLIGHT_STATE_DIR": str(self.state),
            "SALAD_MACHINE_ID": machine,
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Run `preflight-sync run`; it dies with this test."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.state / "sync").mkdir(parents=True, exist_ok=True)
        (self.state / "sync" / "status.json").unlink(missing_ok=True)
        setpriv = shutil.which("setpriv")
        command = [str(BIN / "preflight-sync"), "run"]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command,
                env=self._environ,
                cwd=self.disk,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the child."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, at whatever instruction it is."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def stop(self, limit_s: float = 60.0) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(limit_s)

    def lose_disk(self) -> None:
        """The node vanishes with everything on it."""
        self.kill()
        shutil.rmtree(self.disk, ignore_errors=True)

    def status(self) -> Status:
        """The last status, or an empty one."""
        return read_status(self.state) or Status()

    def wait(self, *states: State, limit_s: float = 60.0) -> Status:
        """Until the status is one of `states`."""
        until(
            lambda: self.status().state in states or not self.is_running,
            limit_s,
            lambda: f"{self.status()}\n{self.output()[-3000:]}",
        )
        assert self.is_running, self.output()[-3000:]
        return self.status()

    def wait_saved(self, limit_s: float = 60.0) -> None:
        """Until it says saved, restored and nothing pending."""

        def is_saved() -> bool:
            status = self.status()
            return status.state is State.SAVED and status.restored and not status.pending_files

        until(
            lambda: is_saved() or not self.is_running,
            limit_s,
            lambda: f"{self.status()}\n{self.output()[-3000:]}",
        )
        assert self.is_running, self.output()[-3000:]

    def flush(self, limit_s: float = 120.0) -> None:
        """Ask it to save everything, and have its word that it did (a status on disk may be older than an edit)."""
        self.wait_saved(limit_s)
        answer = call(self.state, {"cmd": "flush", "timeout_s": limit_s}, limit_s + 10.0)
        assert answer.get("ok"), answer

    def output(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file that the user would see."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file() or name.startswith(".preflight") or "/.~" in f"/{name}":
            continue
        found[name] = path.read_bytes()
    return found
