"""The alarm bell: tells which folder something happened in, and nothing else. Events are never believed.

Only closes, moves, deletes and creations are subscribed to: the default subscription of the library includes
opens, which its own recovery causes, and then it never ends.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from sync.names import OURS

log = logging.getLogger(__name__)

EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileCreatedEvent,  # links are created and never closed
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
_LIBRARY = "watchdog.observers.inotify_c"


class _Bell(FileSystemEventHandler):
    def __init__(self, root: str, mark: Callable[[str, str], None]) -> None:
        self._root = root
        self._skip = len(root) + 1
        self._mark = mark

    def dispatch(self, event: FileSystemEvent) -> None:
        """Mark the folders concerned dirty; nothing here can fail."""
        source = os.fsdecode(event.src_path)
        self._ring(source, isinstance(event, FileClosedEvent))
        if isinstance(event, DirCreatedEvent):
            self._ring(source + "/.", is_closed=False)
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            self._ring(os.fsdecode(event.dest_path), isinstance(event, FileMovedEvent))

    def _ring(self, path: str, is_closed: bool) -> None:
        inside = path[self._skip :]
        if inside == OURS or inside.startswith(OURS + "/"):
            return
        self._mark(inside.rpartition("/")[0], inside if is_closed else "")


class _OverflowLog(logging.Handler):
    """The library tells of a lost event only in its log."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._lost = lost

    def emit(self, record: logging.LogRecord) -> None:
        """Any warning of the reader means that events may be missing."""
        self._lost()


class Watcher:
    """Watches one folder. `lost` is called when events may have been missed: scan everything then."""

    def __init__(self, root: Path, mark: Callable[[str, str], None], lost: Callable[[], None]) -> None:
        self._root = str(root)
        self._mark = mark
        self._lost = lost
        self._observer: BaseObserver | None = None
        self._log = _OverflowLog(lost)
        self.why = ""  # why there is no watching; "" while it works

    def start(self) -> bool:
        """Begin to watch; False (and `why`) when the kernel has no watches left: periodic scans must do."""
        logging.getLogger(_LIBRARY).addHandler(self._log)
        # A folder that is found by its parent's event and by the walk into it is watched once, and told of to people.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        observer = Observer()
        try:
            observer.schedule(_Bell(self._root, self._mark), self._root, recursive=True, event_filter=EVENTS)
            observer.start()
        except OSError as error:
            self.why = f"The folder cannot be watched ({error.strerror}); it is scanned every few seconds instead"
            log.warning("No watching; scanning instead", extra={"why": str(error)})
            return False
        self._observer = observer
        self.why = ""
        return True

    def is_alive(self) -> bool:
        """Whether events can still arrive."""
        observer = self._observer
        return observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters)

    def unwatched(self, folders: Iterable[str]) -> bool:
        """Whether the kernel refused a watch for one of `folders` (the library tells that to nobody)."""
        for emitter in self._observer.emitters if self._observer is not None else ():
            group = getattr(emitter, "_inotify", None)
            watched = getattr(group, "_active_callbacks_by_path", None)
            if watched is None:
                return True
            root = os.fsencode(self._root)
            if any((root + b"/" + os.fsencode(f) if f else root) not in watched for f in folders):
                return True
        return False

    def restart(self) -> bool:
        """Watch anew; the caller scans everything, since anything may have happened meanwhile."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        """End watching."""
        logging.getLogger(_LIBRARY).removeHandler(self._log)
        if self._observer is not None:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join(timeout=2.0)
            self._observer = None
