"""A real `preflight-sync run` for tests: one machine with its folder, its state and a bucket."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sync.control import call
from sync.settings import SyncSettings
from sync.status import State, Status, read_status
from sync.stores import Store
from sync.stores.opening import open_store
from tests.support.wait import until

COMMAND = Path(sys.executable).parent / "preflight-sync"


class Machine:
    """One node: `start`, edit `data`, `stop`, `kill`. Nothing of it outlives `clean`."""

    def __init__(self, folder: Path, store: Mapping[str, str], name: str = "node-a", **extra: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.state = folder / "state"
        self.data.mkdir(parents=True, exist_ok=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PREFLIGHT_DATA_DIR": str(self.data),
            "PREFLIGHT_STATE_DIR": str(self.state),
            "SALAD_MACHINE_ID": name,
            **store,
            **extra,
        }
        self.wrapper: list[str] = []  # a command that runs the child, such as `unshare`
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "sync.log"

    def start(self, *argv: str, ready: bool = True, timeout_s: float = 30.0) -> Machine:
        """Start the child and (unless `ready` is False) wait until everything is saved."""
        if (status := self.state / "sync" / "status.json").exists():
            status.unlink()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, str(COMMAND), "run", *argv], env=self.environ, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        if ready:
            self.saved(timeout_s)
        return self

    def status(self) -> Status | None:
        """The status document of this process; None before it wrote one."""
        found = read_status(self.state)
        assert self.process is not None
        return found if found is not None and found.pid == self.process.pid else None

    def saved(self, timeout_s: float = 30.0) -> None:
        """Wait until a flush says that everything is in the bucket."""
        until(self.is_saved, timeout_s, self.describe)
        answer = call(self.state, {"cmd": "flush", "timeout_s": timeout_s}, timeout_s + 5)
        assert answer["ok"], (answer, self.describe())

    def is_saved(self) -> bool:
        """Whether the status says saved."""
        status = self.status()
        return status is not None and status.state is State.SAVED

    def reaches(self, state: State, timeout_s: float = 30.0) -> Status:
        """Wait for a state."""
        until(lambda: (s := self.status()) is not None and s.state is state, timeout_s, self.describe)
        found = self.status()
        assert found is not None
        return found

    def describe(self) -> str:
        """For failure messages."""
        log = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"{self.status()}\n{log}"

    def signal(self, number: int) -> None:
        """Send a signal to the child."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 40.0) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL, as when a node vanishes."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def clean(self) -> None:
        """End whatever still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.kill()

    def store(self) -> Store:
        """The bucket as another client sees it."""
        return open_store(SyncSettings.load(self.environ).stores[0])

    def keys(self) -> dict[str, int]:
        """User objects in the bucket: key -> size."""
        store = self.store()
        try:
            return {o.key: o.size for o in store.list("") if not o.key.startswith(".preflight/")}
        finally:
            store.close()


def tree_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything that must survive a move: kinds, content, permissions, mtimes (links: targets)."""
    found: dict[str, tuple[object, ...]] = {}
    for top, folders, names in os.walk(os.fsencode(folder)):
        if top == os.fsencode(folder) and b".preflight" in folders:
            folders.remove(b".preflight")
        for name in names + folders:
            path = os.path.join(top, name)
            st = os.lstat(path)
            key = os.fsdecode(os.path.relpath(path, os.fsencode(folder)))
            if stat.S_ISLNK(st.st_mode):
                found[key] = ("link", os.readlink(path))
                if name in folders:
                    folders.remove(name)
            elif stat.S_ISDIR(st.st_mode):
                found[key] = ("dir",)
            elif stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    found[key] = ("file", stat.S_IMODE(st.st_mode), st.st_mtime_ns, file.read())
    return found
