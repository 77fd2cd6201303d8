"""Which tabs this server goes on with, and the door through which the others bring what they still hold.

Whether a tab's history goes on is the collaboration extension's to say: by the session that the tab was opened in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from jupyter_server.base.handlers import APIHandler
from jupyter_server_ydoc.utils import SERVER_SESSION, YDOC_SERVER_VERSION, check_session_compatibility
from tornado.web import HTTPError, authenticated

from preflight.lab import line
from preflight.lab.documents import path_of
from preflight.lab.generation import dropped_prints
from preflight.lab.rescue import Held, Known, Outcome, Rescue
from sync.clock import SystemClock
from sync.control import socket_path

TELL_WITHIN_S = 5.0


def rooms_of(serverapp: Any) -> list[Any]:
    """The shared documents that are open right now."""
    apps = serverapp.extension_manager.extension_apps.get("jupyter_server_ydoc", ())
    return [room for app in apps for room in app.ywebsocket_server.rooms.values()]


class Sessions:
    """What the server's own databases say about a tab's document."""

    def __init__(self, serverapp: Any, data_dir: Path, state_dir: Path, rtc_dir: Path | None) -> None:
        self._serverapp = serverapp
        self._store = str(serverapp.config.get("YDocExtension", {}).get("session_store_path", ""))
        self._data_dir = data_dir
        self._dropped = dropped_prints(rtc_dir) if rtc_dir else {}
        self.state_dir = state_dir
        self.rescue = Rescue(data_dir, self.known, SystemClock().now)

    @property
    def current(self) -> str:
        """This server's session."""
        return str(SERVER_SESSION)

    def known(self, held: Held, room_id: str) -> Known:
        """On the event loop."""
        path = held.path.strip("/")
        room = next((one for one in rooms_of(self._serverapp) if path_of(one) == path), None)
        documents = self._serverapp.contents_manager.documents
        history = documents.history_at(path) if documents else None
        prints = (*(history.prints if history else ()), *self._dropped.get(path, ()))
        return Known(
            self._accepts(held.session) and self._knows(room_id),
            prints,
            None if room is None else room.ydoc,
            history.update if history else b"",
        )

    def _accepts(self, session: str) -> bool:
        refused, _ = check_session_compatibility(
            str(self._data_dir), session, YDOC_SERVER_VERSION, session_store_path=self._store or None
        )
        return not refused

    def _knows(self, room_id: str) -> bool:
        """Whether the tab's document can be reached under the name that the tab knows."""
        ids = self._serverapp.web_app.settings.get("file_id_manager")
        name = room_id.split(":", 2)
        return len(name) == 3 and ids is not None and ids.get_path(name[2]) is not None


class Bring(APIHandler):  # type: ignore[misc]
    """POST a document's whole history as a tab held it; the answer says what became of it."""

    def initialize(self, sessions: Sessions) -> None:
        self.sessions = sessions

    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """200 with {"outcome", "copy"}; 400 for what cannot be understood, 500 when the copy cannot be written."""
        held = Held(
            path=self.get_query_argument("path"),
            type=self.get_query_argument("type"),
            session=self.get_query_argument("session"),
            is_open=self.get_query_argument("open", "") == "1",
            is_last_try=self.get_query_argument("last", "") == "1",
            browser=self.get_query_argument("browser", ""),
            update=self.request.body,
        )
        try:
            found, copy = self.sessions.rescue.settle(held)
        except (
            ValueError,
            RuntimeError,
            KeyError,
            TypeError,
            AttributeError,
        ) as broken:  # by the library
            raise HTTPError(400, f"this cannot be understood: {broken}") from broken
        except OSError as failed:
            raise HTTPError(500, f"the copy cannot be written: {failed.strerror or failed}") from failed
        if found is Outcome.COPY:
            await run_sync(self._tell, held.path, copy)
        self.finish(json.dumps({"outcome": found.value, "copy": copy}))

    def _tell(self, path: str, copy: str) -> None:
        """The panel shows it with the other conflicts."""
        try:
            request: dict[str, object] = {"cmd": "conflict", "path": path, "copy": copy}
            line.ask(socket_path(self.sessions.state_dir), request, TELL_WITHIN_S)
        except line.NoAnswer as silence:
            self.log.warning("a conflict copy is not in the list: %s", silence)
