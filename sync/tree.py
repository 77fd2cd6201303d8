"""What a scan sees: entries with the stamp that proves "unchanged", and how they differ from the journal."""

from __future__ import annotations

import enum
import stat
from typing import NamedTuple


class Kind(enum.Enum):
    """What an entry is to us. OTHER (sockets, FIFOs, devices) is never synced."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"
    OTHER = "other"


_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIR, stat.S_IFLNK: Kind.LINK}


class Entry(NamedTuple):
    """One local entry by `lstat`: times in nanoseconds, size in bytes, `mode` with its type bits.

    `extra` folds in what else the content depends on (an SQLite write-ahead log beside its database).
    """

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    ino: int
    extra: int = 0

    @property
    def kind(self) -> Kind:
        """The kind, from the type bits of `mode`."""
        return _KINDS.get(self.mode & 0o170000, Kind.OTHER)

    @property
    def permissions(self) -> int:
        """The permission bits alone."""
        return self.mode & 0o7777


class Row(NamedTuple):
    """One journal entry: the local stamp and the remote version that were once the same content."""

    entry: Entry
    version: str
    size: int  # of the object: differs from the entry's for a snapshot of a database
    md5: bytes | None


class Remote(NamedTuple):
    """What a listing says of one object. `modified` is seconds since the epoch by the server's clock."""

    size: int
    version: str
    modified: float
    md5: bytes | None


class Doubt(NamedTuple):
    """A write that was sent and may have been carried out. `md5` is b"" for a content that is not our own."""

    path: str
    size: int
    md5: bytes


SMUDGED_NS = 0  # a ctime that no file has: the row's content must be read again before it counts as unchanged


def smudge(entry: Entry) -> Entry:
    """The same entry with a stamp that matches nothing (a write may have followed within the clock's tick)."""
    return entry._replace(ctime_ns=SMUDGED_NS)


def unchanged(entry: Entry, row: Row) -> bool:
    """Whether the local entry is still what the journal recorded."""
    if entry.kind is Kind.DIR:
        return row.entry.kind is Kind.DIR and row.entry.permissions == entry.permissions
    return entry == row.entry
