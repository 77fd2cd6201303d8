"""The server half of what JupyterLab shows about the node and the folder.

Reads files of ours and asks local services; a browser's headers go no further than here. Everything needs a login,
and everything that changes something needs the XSRF token too (Jupyter's own rules for its API).
"""

from __future__ import annotations

import atexit
import functools
import json
import os
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import HTTPError, authenticated

from preflight.activity import WRITE_EVERY_S, activity_of, write_activity
from preflight.gpu.sample import take_sample
from preflight.lab import actions, line, snapshot
from preflight.lab.bell import Bell
from preflight.lab.confine import drop_reach
from preflight.lab.documents import Documents
from preflight.lab.keeper import Keeper
from preflight.lab.settling import settle
from sync.clock import SystemClock
from sync.control import socket_path
from sync.status import read_status, status_path

LOOK_EVERY_S = 0.2  # one stat; what the sync says is on the page within a second
REPORT_TIMEOUT_S = 2.0
RECORD_EVERY_S = 5.0  # two stats
TRUST_EVERY_S = 60.0  # an upload when there is a new signature, which every save of a trusted notebook makes
GPU_EVERY_S = 10.0  # a look is a process of about 0.1 s
SCHEMA = Path(__file__).parent / "schemas" / "status.v1.json"
CONTENTS_EVENTS = "https://events.jupyter.org/jupyter_server/contents_service/v1"
WRITES = frozenset({"save", "rename", "delete", "copy", "upload"})
SCHEMA_ID = json.loads(SCHEMA.read_text())["$id"]


class Desk:
    """Where the page's questions are answered."""

    def __init__(
        self, state_dir: Path, supervisor_socket: Path, probe_port: int, data_dir: Path, *, has_store: bool
    ) -> None:
        self.state_dir = state_dir
        self.supervisor_socket = supervisor_socket
        self.probe_port = probe_port
        self.data_dir = data_dir
        self.clock = SystemClock()
        self.has_store = has_store
        self._is_shipped = False
        self._stamp: object = None
        self.documents = {"session": "", "folder": ""}  # of the collaboration, where it is on
        self._gpu: dict[str, Any] | None = None
        self._gpu_at_s: float | None = None

    def sync(self) -> dict[str, Any]:
        """The sync as the page shows it."""
        return snapshot.sync_seen(self.state_dir, self.clock.now()).document()

    def packages(self) -> dict[str, Any] | None:
        """How the replay of what the user had installed goes."""
        return snapshot.read_document(self.state_dir / "lab" / "packages.json")

    def changed(self) -> bool:
        """Whether there is something new to say."""
        packages = self.state_dir / "lab" / "packages.json"
        stamp = (snapshot.sync_stamp(self.state_dir), packages.stat().st_mtime_ns if packages.exists() else None)
        before, self._stamp = self._stamp, stamp
        return before != stamp

    def may_ship(self) -> bool:
        """True once: when the folder is as the bucket has it. Before that we do not know what the user has."""
        if self._is_shipped:
            return False
        if self.has_store:
            status = read_status(self.state_dir)
            if status is None or not status.restored:
                return False
        self._is_shipped = True
        return True

    async def everything(self) -> dict[str, Any]:
        """The snapshot that a page loads with."""
        return {
            "sync": self.sync(),
            "report": await self._probe("/report"),
            "memory": snapshot.memory(),
            "gpus": await self._gpus(),
            "disk": snapshot.disk(self.data_dir),
            "packages": self.packages(),
            "documents": self.documents,
        }

    async def _gpus(self) -> list[dict[str, Any]]:
        """At most one look in GPU_EVERY_S, in a child of its own; where there was no GPU nobody looks again."""
        now_s = self.clock.monotonic()
        if self._gpu_at_s is None or (self._gpu is not None and now_s - self._gpu_at_s > GPU_EVERY_S):
            self._gpu_at_s = now_s
            self._gpu = await run_sync(take_sample, os.environ, self.clock)
        return [] if self._gpu is None else snapshot.gpu_gauges(self._gpu)

    async def _probe(self, path: str) -> dict[str, Any] | None:
        try:
            answer = await AsyncHTTPClient().fetch(
                f"http://127.0.0.1:{self.probe_port}{path}", request_timeout=REPORT_TIMEOUT_S
            )
            body = json.loads(answer.body)
        except (HTTPClientError, OSError, ValueError):
            return None
        return body if isinstance(body, dict) else None

    def _settle(self, request: dict[str, Any]) -> dict[str, Any]:
        status = read_status(self.state_dir)
        known = status.conflicts if status else ()
        why = settle(self.data_dir, known, request["path"], request["copy"], request["keep"])
        return {"ok": not why, "why": why}

    async def act(self, errand: actions.Errand) -> dict[str, Any]:
        """Do one errand; the answer always has `ok`, and `why` when it is false."""
        if errand.to == "folder":
            return await run_sync(self._settle, errand.request)
        path = {
            "sync": socket_path(self.state_dir),
            "desk": self.state_dir / "desk.sock",
        }.get(errand.to, self.supervisor_socket)
        try:
            answer = await run_sync(line.ask, path, errand.request, errand.timeout_s)
        except line.NoAnswer as silence:
            return {"ok": False, "why": str(silence)}
        return {"ok": True} | answer


class Snapshot(APIHandler):  # type: ignore[misc]
    """GET: everything that the page shows."""

    def initialize(self, desk: Desk) -> None:
        self.desk = desk

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """200 with the snapshot."""
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(await self.desk.everything(), default=str))


class Act(APIHandler):  # type: ignore[misc]
    """POST {"action": …}: one of a closed list."""

    def initialize(self, desk: Desk) -> None:
        self.desk = desk

    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """200 with {"ok", …}; 400 when there is no such action."""
        asked = self.get_json_body() or {}
        try:
            errand = actions.errand(asked.get("action"), asked)
        except actions.Unknown as unknown:
            raise HTTPError(400, str(unknown)) from unknown
        self.log.info("asked from the page: %s", asked["action"])
        self.finish(json.dumps(await self.desk.act(errand), default=str))


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    return [{"module": "preflight.lab.extension"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Called once by Jupyter, on its main thread, before any kernel or terminal starts."""
    config = serverapp.config.get("PreflightLab", {})
    if config.get("confine", True) and not drop_reach():
        serverapp.log.warning("kernels may read the environment of other processes: capabilities could not be dropped")
    state_dir = Path(config.get("state_dir") or ".local/state")
    desk = Desk(
        state_dir,
        Path(config.get("supervisor_socket") or state_dir / "supervisor.sock"),
        int(config.get("probe_port") or 8001),
        Path(serverapp.root_dir),
        has_store=bool(config.get("has_store")),
    )
    root = url_path_join(serverapp.web_app.settings["base_url"], "preflight/api")
    serverapp.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(root, "snapshot"), Snapshot, {"desk": desk}),
            (url_path_join(root, "act"), Act, {"desk": desk}),
        ],
    )
    bell = Bell(desk.data_dir, state_dir)
    documents: Documents | None = None
    if config.get("collaboration"):
        from preflight.lab.sessions import Bring, Sessions, rooms_of  # the libraries load only where they are used

        rooms = functools.partial(rooms_of, serverapp)
        documents = serverapp.contents_manager.documents = Documents(desk.data_dir, rooms, bell.ring_file)
        rtc = Path(config["rtc"]) if config.get("rtc") else None
        sessions = Sessions(serverapp, desk.data_dir, state_dir, rtc)
        desk.documents = {"session": sessions.current, "folder": str(config.get("folder") or "")}
        serverapp.web_app.add_handlers(".*$", [(url_path_join(root, "bring"), Bring, {"sessions": sessions})])

    async def heard(logger: object, schema_id: str, data: dict[str, Any]) -> None:
        if data.get("action") in WRITES:
            bell.ring(data["path"])
            if data.get("source_path"):
                bell.ring(data["source_path"])

    serverapp.event_logger.add_listener(schema_id=CONTENTS_EVENTS, listener=heard)
    serverapp.event_logger.register_event_schema(SCHEMA)
    status_path(state_dir).parent.mkdir(parents=True, exist_ok=True)

    keeper = Keeper(desk.data_dir, state_dir, config)

    def look() -> None:
        if desk.may_ship():
            IOLoop.current().run_in_executor(None, keeper.begin)
        if documents:
            for history in documents.newly_opened():
                IOLoop.current().run_in_executor(None, documents.write, history)
        if desk.changed():
            data = {"sync": json.loads(json.dumps(desk.sync(), default=str)), "packages": desk.packages()}
            data["documents"] = desk.documents
            serverapp.event_logger.emit(schema_id=SCHEMA_ID, data=data)

    PeriodicCallback(look, LOOK_EVERY_S * 1000).start()
    PeriodicCallback(lambda: IOLoop.current().run_in_executor(None, keeper.record), RECORD_EVERY_S * 1000).start()

    PeriodicCallback(lambda: IOLoop.current().run_in_executor(None, keeper.carry_trust), TRUST_EVERY_S * 1000).start()
    atexit.register(keeper.carry_trust)

    def note() -> None:
        write_activity(state_dir, activity_of(serverapp.web_app.settings, SystemClock().now()))

    PeriodicCallback(note, WRITE_EVERY_S * 1000).start()
