"""Consistent copies of SQLite databases that are in use: what a byte-wise copy would tear."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator

from sync.clock import Clock
from sync.errors import Unstable
from sync.open_file import OpenFile

MAGIC = b"SQLite format 3\x00"
SIDES = ("-wal", "-journal", "-shm")
BUSY_S = 0.25  # a writer that keeps its lock longer is asked again next round


def snapshot_of(path: str, private: str, clock: Clock) -> contextlib.AbstractContextManager[OpenFile] | None:
    """A private consistent copy of the database at `path`; None if it is none or nobody has it in use."""
    if not any(os.path.exists(path + side) and os.path.getsize(path + side) for side in ("-wal", "-journal")):
        return None  # at rest the file alone is the database: a stable read of it is consistent
    try:
        with open(path, "rb") as file:
            if file.read(16) != MAGIC:
                return None
    except OSError:
        return None
    return _snapshot(path, private, clock)


@contextlib.contextmanager
def _snapshot(path: str, private: str, clock: Clock) -> Iterator[OpenFile]:
    os.makedirs(private, mode=0o700, exist_ok=True)
    copy = f"{private}/db-{os.getpid()}-{threading.get_ident()}"
    try:
        if os.path.exists(path + "-shm") or not os.path.exists(path + "-wal"):
            _backup(path, copy)
        else:
            _copy_with_log(path, copy)
        fd = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield OpenFile(fd, path, clock)
        finally:
            os.close(fd)
    finally:
        for side in ("", *SIDES):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy + side)


def _backup(path: str, copy: str) -> None:
    """By SQLite's online backup, under its own locks."""
    uri = "file:" + "".join(f"%{b:02x}" for b in os.fsencode(path)) + "?mode=ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, progress=_give_up_if_locked)
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise Unstable("The database is busy", where=path) from error


def _give_up_if_locked(status: int, remaining: int, total: int) -> None:
    """The backup itself would wait for ever for a writer that is in the middle of a transaction."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("a transaction is under way")


def _copy_with_log(path: str, copy: str) -> None:
    """A database whose writer died: copied with its log, which is then played into the copy alone."""
    before = [os.stat(path + side) for side in ("", "-wal")]
    for side in ("", "-wal"):
        shutil.copyfile(path + side, copy + side)
    try:
        after = [os.stat(path + side) for side in ("", "-wal")]
    except FileNotFoundError as error:
        raise Unstable("The database changed while it was copied", where=path) from error
    if [(s.st_size, s.st_mtime_ns) for s in before] != [(s.st_size, s.st_mtime_ns) for s in after]:
        raise Unstable("The database changed while it was copied", where=path)
    try:
        with contextlib.closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise Unstable("The database's log cannot be read", where=path) from error
