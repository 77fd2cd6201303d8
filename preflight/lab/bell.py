"""Tells the sync at once what was saved here; the watcher and the scans find it without us, only later."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

from preflight.lab import line
from sync.control import socket_path

log = logging.getLogger(__name__)
ANSWER_WITHIN_S = 2.0
MOST_AT_ONCE = 1000


class Bell:
    """Rung on the event loop, heard on a thread of its own: a save never waits for the sync."""

    def __init__(self, data_dir: Path, state_dir: Path) -> None:
        self._root = data_dir
        self._socket = socket_path(state_dir)
        self._rung: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._carry, name="bell", daemon=True).start()

    def ring(self, path: str) -> None:
        """`path` (in the folder, as the contents API writes it) was saved, renamed or deleted."""
        self._rung.put(path.strip("/"))

    def ring_file(self, path: Path) -> None:
        """The same, by its place on the disk."""
        if path.is_relative_to(self._root):
            self.ring(path.relative_to(self._root).as_posix())

    def _carry(self) -> None:
        while True:
            paths = {self._rung.get()}
            while len(paths) < MOST_AT_ONCE and not self._rung.empty():
                paths.add(self._rung.get())
            try:
                line.ask(self._socket, {"cmd": "dirty", "paths": sorted(paths)}, ANSWER_WITHIN_S)
            except line.NoAnswer as silence:  # starting, or dead: it scans the whole folder when it is back
                log.debug("the sync did not hear of a save", extra={"why": str(silence)})
