"""What is being written just now, noted before each request leaves: what a SIGKILL leaves of it is known as ours.

One record a write, appended to a small file beside the journal and never forced to the disk: it outlives the process,
which is all that a kill takes. (After a restart of the machine the journal proves nothing either: `root.py`.)
A record counts only while the journal still has the version that the write was to replace: past that it was answered.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from sync.tree import Doubt

log = logging.getLogger(__name__)

KEPT_BYTES = 64 * 1024  # answered records up to this are left where they are
MOST_BYTES = 4 * 1024 * 1024  # past this they go, although something is always under way
_END = b"\0\n"  # no field begins with a line's end but a path, and none holds a NUL


class Intents:
    """The records of one store. `add` may be called from any thread, the rest from one at a time."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._fd = -1
        self._lock = threading.Lock()
        self._open: dict[str, bytes] = {}  # path -> its record: no answer yet
        self._is_silent = False
        self._before = self.read()
        self._size = len(self._before)

    def add(self, write: Doubt, over: str) -> None:
        """`write` is about to be sent, over the version `over` as the journal has it ("": it has none)."""
        fields = (os.fsencode(write.path), b"%d" % write.size, write.md5.hex().encode(), over.encode())
        record = b"\0".join(fields) + _END
        with self._lock:
            self._open[write.path] = record
            self._size += len(record)
            self.append(record)

    def end(self, path: str) -> None:
        """What was sent under this name was answered: its end is in the journal with the next commit."""
        with self._lock:
            self._open.pop(path, None)

    def committed(self) -> None:
        """The journal holds the end of everything that was ended."""
        if self._size <= KEPT_BYTES or (self._open and self._size <= MOST_BYTES):
            return
        with self._lock:
            kept = b"".join(self._open.values())
            self._size = len(kept)
            self.replace(kept)

    def left(self, known: Callable[[str], str]) -> Iterable[Doubt]:
        """The writes that the life before this one may not have seen the end of.

        `known`: the version that the journal has for a path, "" for none.
        """
        by_path: dict[bytes, list[tuple[Doubt, bytes]]] = {}
        for record in self._before.split(_END)[:-1]:
            fields = record.split(b"\0")
            try:
                where, size, md5, over = fields
                write = Doubt(os.fsdecode(where), int(size), bytes.fromhex(md5.decode("ascii")))
            except ValueError:  # torn off by a full disk
                continue
            by_path.setdefault(where, []).append((write, over))
        self._before = b""
        for writes in by_path.values():
            version = known(writes[0][0].path).encode()
            for write, over in reversed(writes):
                if over != version:
                    break  # it, and all before it, was answered
                yield write

    def clear(self) -> None:
        """The journal was forgotten, and these with it."""
        with self._lock:
            self._open.clear()
            self._size = 0
            self.replace(b"")

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # The file. Without one nothing is remembered: a kill may then cost a needless conflict copy, and no content.
    def read(self) -> bytes:
        """What the life before left."""
        if self._path is None:
            return b""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            return self._path.read_bytes()
        except OSError as error:
            self._tell(error)
            return b""

    def append(self, record: bytes) -> None:
        """Add to the file."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, record)
        except OSError as error:  # a full disk
            self._tell(error)

    def replace(self, records: bytes) -> None:
        """Make this the whole file, at once or not at all."""
        if self._path is None or self._fd < 0:
            return
        try:
            if not records:
                os.ftruncate(self._fd, 0)
                return
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(records)
            fd = os.open(fresh, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            os.replace(fresh, self._path)
            os.close(self._fd)
            self._fd = fd
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._is_silent:
            self._is_silent = True
            log.warning("What is being written cannot be noted beside the journal", extra={"error": str(error)})
