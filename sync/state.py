"""The journal: what was last the same on both sides. It lives outside the synced folder, in one SQLite file.

Used by the control thread only. Rows are keyed by directory so that one directory is one range read; names are
BLOBs because file names are bytes. Losing the journal costs comparisons, never content.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from sync.names import join, split
from sync.tree import Doubt, Entry, Remote, Row

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    dir BLOB NOT NULL, name BLOB NOT NULL, mode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, ino BLOB NOT NULL, extra INTEGER NOT NULL, version TEXT NOT NULL,
    object_size INTEGER NOT NULL, md5 BLOB, PRIMARY KEY (dir, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS remote (
    dir BLOB NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, version TEXT NOT NULL, modified REAL NOT NULL,
    md5 BLOB, PRIMARY KEY (dir, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (path BLOB PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS doubts (path BLOB NOT NULL, size INTEGER NOT NULL, md5 BLOB NOT NULL,
    PRIMARY KEY (path, size, md5)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conflicts (path BLOB NOT NULL, copy BLOB NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (path, copy)) WITHOUT ROWID;
"""
_ROW = "mode, size, mtime_ns, ctime_ns, ino, extra, version, object_size, md5"
_VALUES = "VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_VERSION = 1
CACHE_KIB = 2048  # keeps the process small: a directory is a few pages


class Journal:
    """Rows by path. Changes are durable after `commit`; a crash in between loses only what can be learned again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.isolation_level = None
        self._open = False
        self._db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        self._db.executescript(_SCHEMA)
        files, size = self._db.execute("SELECT COUNT(*), COALESCE(SUM(object_size), 0) FROM entries").fetchone()
        self._files, self._bytes = int(files), int(size)

    @classmethod
    def at(cls, path: Path) -> Journal:
        """The journal in `path`; one that cannot be read is put aside, which costs comparisons and no content."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return cls(_connect(path))
        except sqlite3.DatabaseError:
            log.warning("The journal is damaged; a new one is begun and every file is compared", exc_info=True)
            for tail in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{path}{tail}", f"{path}{tail}.damaged")
            return cls(_connect(path))

    def _write(self) -> sqlite3.Connection:
        if not self._open:
            self._db.execute("BEGIN IMMEDIATE")
            self._open = True
        return self._db

    def commit(self) -> None:
        """Make everything since the last commit durable, at once or not at all."""
        if self._open:
            try:
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:  # a full disk: what is lost is compared again, and nothing else
                log.warning("The journal cannot be written", extra={"error": str(error)})
            self._open = self._db.in_transaction

    def close(self) -> None:
        """Commit and let go of the file."""
        self.commit()
        self._db.close()

    def rows(self, folder: str) -> dict[str, Row]:
        """Every row directly in `folder`, by name."""
        found = self._db.execute(f"SELECT name, {_ROW} FROM entries WHERE dir = ?", (os.fsencode(folder),))
        return {os.fsdecode(name): _row(rest) for name, *rest in found}

    def row(self, path: str) -> Row | None:
        """The row of one path."""
        key = _key(path)
        found = self._db.execute(f"SELECT {_ROW} FROM entries WHERE dir = ? AND name = ?", key).fetchone()
        return None if found is None else _row(found)

    def below(self, folder: str) -> Iterator[tuple[str, Row]]:
        """Every (path, row) in `folder` and all its subfolders."""
        query = f"SELECT dir, name, {_ROW} FROM entries"
        if folder:
            top = os.fsencode(folder)
            found = self._db.execute(f"{query} WHERE dir = ? OR (dir > ? AND dir < ?)", (top, top + b"/", top + b"0"))
        else:
            found = self._db.execute(query)
        for where, name, *rest in found.fetchall() if folder else found:
            yield join(os.fsdecode(where), os.fsdecode(name)), _row(rest)

    def folders(self) -> Iterator[str]:
        """Every folder that has a row directly in it."""
        for (where,) in self._db.execute("SELECT DISTINCT dir FROM entries"):
            yield os.fsdecode(where)

    def record(self, path: str, row: Row) -> None:
        """Remember that `row.entry` here and `row.version` there are the same content."""
        e, key = row.entry, _key(path)
        values = (*key, e.mode, e.size, e.mtime_ns, e.ctime_ns, _big(e.ino), e.extra, row.version, row.size, row.md5)
        db = self._write()
        if not db.execute(f"INSERT OR IGNORE INTO entries {_VALUES}", values).rowcount:
            self._uncount(key)
            db.execute(f"INSERT OR REPLACE INTO entries {_VALUES}", values)
        self._files += 1
        self._bytes += row.size

    def _uncount(self, key: tuple[bytes, bytes]) -> None:
        old = self._db.execute("SELECT object_size FROM entries WHERE dir = ? AND name = ?", key).fetchone()
        if old is not None:
            self._files -= 1
            self._bytes -= old[0]

    def drop(self, path: str) -> None:
        """Forget one path."""
        key = _key(path)
        self._uncount(key)
        self._write().execute("DELETE FROM entries WHERE dir = ? AND name = ?", key)

    def forget(self) -> None:
        """Forget every row, upload and doubt: this journal proves nothing about the folder it was found with."""
        self._write().execute("DELETE FROM entries")
        self._files = self._bytes = 0
        self._db.execute("DELETE FROM uploads")
        self._db.execute("DELETE FROM doubts")

    def counts(self) -> tuple[int, int]:
        """(files, bytes) that the bucket holds of this folder, as far as this journal knows."""
        return self._files, self._bytes

    def fact(self, name: str) -> str | None:
        """A remembered fact ("folder", "store", "boot")."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def set_fact(self, name: str, value: str) -> None:
        """Remember a fact."""
        self._write().execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    # What a listing said, staged here so that a million objects cost disk and not memory.
    def begin_listing(self) -> None:
        """Start with an empty stage."""
        self._write().execute("DELETE FROM remote")

    def stage(self, found: Iterable[tuple[str, Remote]]) -> None:
        """Add (path, object) pairs to the stage; a path seen twice keeps the later one."""
        rows = ((*_key(path), r.size, r.version, r.modified, r.md5) for path, r in found)
        self._write().executemany("INSERT OR REPLACE INTO remote VALUES (?,?,?,?,?,?)", rows)

    def staged(self, folder: str) -> dict[str, Remote]:
        """The staged objects directly in `folder`, by name."""
        found = self._db.execute(
            "SELECT name, size, version, modified, md5 FROM remote WHERE dir = ?", (os.fsencode(folder),)
        )
        return {os.fsdecode(name): Remote(*rest) for name, *rest in found}

    def staged_modified(self, path: str) -> float | None:
        """When the staged object of `path` was written, by the server's clock; None without one."""
        found = self._db.execute("SELECT modified FROM remote WHERE dir = ? AND name = ?", _key(path)).fetchone()
        return None if found is None else float(found[0])

    def staged_homes(self) -> list[bytes]:
        """Every folder that has a staged object directly in it, as bytes and in their order."""
        return [where for (where,) in self._db.execute("SELECT DISTINCT dir FROM remote ORDER BY dir")]

    def staged_folders(self) -> list[str]:
        """Every folder that has a staged object or a row directly in it, in order."""
        found = self._db.execute("SELECT DISTINCT dir FROM remote UNION SELECT DISTINCT dir FROM entries ORDER BY 1")
        return [os.fsdecode(where) for (where,) in found]

    def staged_counts(self) -> tuple[int, int]:
        """(objects, bytes) of the stage."""
        files, size = self._db.execute("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM remote").fetchone()
        return int(files), int(size)

    # Multipart uploads under way, so that a killed process goes on where it was.
    def uploads(self) -> dict[str, str]:
        """Notes of unfinished uploads by path."""
        return {os.fsdecode(p): str(n) for p, n in self._db.execute("SELECT path, note FROM uploads")}

    def note_upload(self, path: str, note: str | None) -> None:
        """Remember or (None) forget an unfinished upload."""
        if note is None:
            self._write().execute("DELETE FROM uploads WHERE path = ?", (os.fsencode(path),))
        else:
            self._write().execute("INSERT OR REPLACE INTO uploads VALUES (?,?)", (os.fsencode(path), note))

    # Writes whose answer never came.
    def doubts(self) -> tuple[Doubt, ...]:
        """All of them, in order of paths."""
        found = self._db.execute("SELECT path, size, md5 FROM doubts ORDER BY path")
        return tuple(Doubt(os.fsdecode(path), int(size), bytes(md5)) for path, size, md5 in found)

    def add_doubt(self, doubt: Doubt) -> None:
        """Remember one."""
        row = (os.fsencode(doubt.path), doubt.size, doubt.md5)
        self._write().execute("INSERT OR IGNORE INTO doubts VALUES (?,?,?)", row)

    def drop_doubts(self, path: str) -> None:
        """It is known again what the bucket holds under this name."""
        self._write().execute("DELETE FROM doubts WHERE path = ?", (os.fsencode(path),))

    def conflicts(self) -> list[tuple[str, str, float]]:
        """(path, copy, when) of every conflict whose copy was not dismissed."""
        found = self._db.execute("SELECT path, copy, at FROM conflicts ORDER BY at")
        return [(os.fsdecode(p), os.fsdecode(c), float(at)) for p, c, at in found]

    def add_conflict(self, path: str, copy: str, at: float) -> None:
        """Remember that `copy` holds the other content of `path`."""
        self._write().execute(
            "INSERT OR IGNORE INTO conflicts VALUES (?,?,?)", (os.fsencode(path), os.fsencode(copy), at)
        )

    def drop_conflict(self, copy: str) -> None:
        """The copy is gone: a person settled the conflict."""
        self._write().execute("DELETE FROM conflicts WHERE copy = ?", (os.fsencode(copy),))


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"journal of version {version}")
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the journal fails its own check")
        db.execute(f"PRAGMA user_version={_VERSION}")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _key(path: str) -> tuple[bytes, bytes]:
    folder, name = split(path)
    return os.fsencode(folder), os.fsencode(name)


def _big(number: int) -> bytes:
    return number.to_bytes(8, "big")  # inode numbers use all 64 bits; SQLite's integers are signed


def _row(fields: Iterable[object]) -> Row:
    mode, size, mtime_ns, ctime_ns, ino, extra, version, object_size, md5 = fields
    entry = Entry(mode, size, mtime_ns, ctime_ns, int.from_bytes(ino, "big"), extra)  # type: ignore[arg-type]
    return Row(entry, version, object_size, md5)  # type: ignore[arg-type]
