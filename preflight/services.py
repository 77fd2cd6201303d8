"""Which children a node has and how each is started: sync, the monitor, and the app (JupyterLab or the user's own)."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from preflight import app_metrics, reporting
from preflight.board import Board, Stage
from preflight.errors import BadSettings, PreflightError
from preflight.gpu.repair import repaired
from preflight.lab.launch import LabLaunch, prepare
from preflight.lab.settings import LabSettings
from preflight.processes import Command, console_script
from preflight.readiness import ALIVE_FOR_S, Word, ask_file, ask_url
from preflight.retelling import retell
from preflight.settings import Settings, sync_settings
from preflight.supervisor import Service

if TYPE_CHECKING:
    from sync.settings import SyncSettings

__all__ = ["Command", "Plan"]
log = logging.getLogger(__name__)
FLUSH_ROOM_S = 5.0  # beyond sync's own flush deadline: it says what stayed unsaved and gives the lease back
# Exit statuses of sync after which nothing is left to be done; after 3 (partial) with time left, or a kill, there is.
SYNC_DONE = frozenset({0, 2, 11, 12, 20})


class Plan:
    """The children of this node. `prepare` must have returned before `commands` are used."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], command: tuple[str, ...]) -> None:
        self._settings = settings
        self._command = command
        self._sync: SyncSettings = sync_settings(environ)
        self._lab: LabLaunch | None = None
        self._password: str | None = None
        self.has_sync = bool(self._sync.stores)
        self.warnings: tuple[str, ...] = ()
        self.url = f"http://localhost:{settings.port}" + ("" if command else "/lab")
        # Children work in other folders: what they get is absolute.
        self._environ = dict(environ) | {
            "PREFLIGHT_STATE_DIR": str(settings.state_dir.absolute()),
            "PREFLIGHT_DATA_DIR": str(settings.data_dir.absolute()),
            "PREFLIGHT_PORT": str(settings.port),
            "PREFLIGHT_PROBE_PORT": str(settings.probe_port),
            reporting.VARIABLE: str(app_metrics.socket_path(settings.state_dir)),
        }

    def prepare(self) -> None:
        """Write JupyterLab's configuration. Raises BadSettings."""
        if self._command:
            return
        settings = self._settings
        wanted = LabSettings(
            data_dir=settings.data_dir.absolute(),
            state_dir=settings.state_dir.absolute(),
            port=settings.port,
            probe_port=settings.probe_port,
            password=settings.password,
            public_origin=settings.public_origin,
            collaboration=settings.collaboration,
            kernel_credentials=settings.kernel_credentials,
            kernel_python=settings.kernel_python,
            folder_requirements=settings.folder_requirements,
            identity=self._sync.stores[0].url if self._sync.stores else "",
        )
        try:
            self._lab = prepare(wanted, self._environ)
        except PreflightError as failed:
            raise BadSettings([str(failed)]) from failed
        except OSError as failed:
            raise BadSettings([f"PREFLIGHT_STATE_DIR: {failed}"]) from failed
        self._password = self._lab.generated_password
        self.warnings = self._lab.warnings
        self.url = self._lab.url

    def close(self) -> None:
        """Nothing runs any more."""
        if self._lab is not None and self._lab.lodging is not None:
            self._lab.lodging.leave()

    @property
    def store_variables(self) -> str:
        """The variables that say where the folder is saved and by whose leave, for messages about refusals."""
        if not self._sync.stores:
            return "PREFLIGHT_STORE"
        store = self._sync.stores[0]
        named = (store.variable, *(store.variable_of(role) for role in store.credentials))
        return ", ".join(dict.fromkeys(named))

    def repair(self, report: Mapping[str, Any] | None) -> None:
        """What the checks found and a variable can cure is cured for the app (preflight/gpu/repair.py)."""
        self._environ = repaired(self._environ, report)
        if self._lab is not None:
            self._lab = dataclasses.replace(self._lab, env=repaired(self._lab.env, report))

    @property
    def title(self) -> str:
        """What people call the app."""
        return "Your server" if self._command else "JupyterLab"

    def take_password(self) -> str | None:
        """The generated password, once."""
        password, self._password = self._password, None
        return password

    @property
    def services(self) -> tuple[Service, ...]:
        """In start order; they stop in the reverse order."""
        app = Service(
            "app",
            needs=("sync",),
            stop_deadline_s=self._settings.stop_app_s,
            may_finish=bool(self._command),
        )
        sync = Service(
            "sync",
            stop_deadline_s=self._sync.flush_timeout_s + FLUSH_ROOM_S,
            backoff_max_s=30.0,
            last_words=SYNC_DONE if self.has_sync else frozenset(),
        )
        monitor = Service("monitor", needs=("sync",), stop_deadline_s=2.0, backoff_s=5.0)
        return (sync, monitor, app) if self._settings.monitor else (sync, app)

    @property
    def commands(self) -> dict[str, Callable[[], Command]]:
        """How each service is started."""
        return {"sync": self._sync_command, "monitor": self._monitor_command, "app": self._app_command}

    def _sync_command(self) -> Command:
        return Command((console_script("preflight-sync"), "run", "--supervised"), self._environ)

    def resume(self, name: str, left_s: float) -> Command:
        """What ends sync's last save when it died in it: one flush, and the room it needs, within `left_s` seconds."""
        assert name == "sync"
        timeout_s = max(1.0, left_s - FLUSH_ROOM_S)
        argv = (console_script("preflight-sync"), "flush", "--timeout", f"{timeout_s:.0f}")
        return Command(argv, {**self._environ, "PREFLIGHT_FLUSH_TIMEOUT_S": "1"})

    def _monitor_command(self) -> Command:
        return Command((console_script("preflight"), "monitor-node"), self._environ, piped=True, oom_score_adj=100)

    def _app_command(self) -> Command:
        if self._lab is None:
            return Command(self._command, self._environ, oom_score_adj=200)
        return Command(self._lab.argv, self._lab.env, self._lab.cwd, piped=True, merged=True, oom_score_adj=200)

    def ask(self, running_s: float) -> Word:
        """Whether the app is ready, by the question that fits it."""
        settings = self._settings
        if self._lab is not None:
            return ask_url(f"http://127.0.0.1:{settings.port}/api")  # answers without a login, touches no activity
        if settings.ready_file is not None:
            return ask_file(settings.ready_file)
        if settings.ready_url is not None:
            return ask_url(settings.ready_url)
        return Word(True) if running_s >= ALIVE_FOR_S else Word(False, "it has just been started")

    def on_started(self, board: Board) -> Callable[[str, subprocess.Popen[bytes]], None]:
        """Reads what piped children print."""

        def started(name: str, process: subprocess.Popen[bytes]) -> None:
            if process.stdout is not None:
                read = partial(_heed if name == "monitor" else retell, board)
                threading.Thread(target=read, args=(process,), name=f"{name}-output", daemon=True).start()

        return started


def _heed(board: Board, process: subprocess.Popen[bytes]) -> None:
    """The monitor's documents, onto the board."""
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            try:
                said = json.loads(line)["monitor"]
                handed_back = bool(said["handed_back"])
            except (ValueError, KeyError, TypeError):
                log.warning("the monitor printed something that is not its document", extra={"length": len(line)})
                continue
            board.post(monitor=said, monitor_at_s=board.clock.monotonic())
            if handed_back and board.facts.stage is Stage.OPEN:
                board.post(stage=Stage.HANDING_BACK)
            elif not handed_back and board.facts.stage is Stage.HANDING_BACK:
                board.post(stage=Stage.OPEN)
