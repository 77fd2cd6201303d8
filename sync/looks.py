"""Mode and time of a file: as object metadata, back from it, and whether two are the same."""

from __future__ import annotations

import stat

from sync.stores import ObjectInfo
from sync.tree import Entry, Kind

TOUCH_BYTES = 1024 * 1024  # a larger file is not sent again for a new mtime alone
FILE_MODE = 0o644  # of objects that carry no mode: put there by other tools
FOLDER_MODE = 0o755


def meta_of(entry: Entry) -> dict[str, str]:
    """Object metadata: rclone's `mtime` (seconds with fraction), our `mode` (octal)."""
    seconds, nanos = divmod(entry.mtime_ns, 1_000_000_000)
    meta = {"mtime": f"{seconds}.{nanos:09d}", "mode": f"{stat.S_IMODE(entry.mode):o}"}
    if entry.kind is Kind.LINK:
        meta["symlink"] = "1"
    return meta


def mtime_of(info: ObjectInfo) -> int:
    """The file's mtime in nanoseconds: from the metadata, else the server's date."""
    try:
        whole, _, part = info.meta["mtime"].partition(".")
        return int(whole) * 1_000_000_000 + int((part + "000000000")[:9]) * (-1 if whole.startswith("-0") else 1)
    except (KeyError, ValueError):
        return int(info.modified * 1_000_000_000)


def mode_of(info: ObjectInfo, default: int) -> int:
    """The permission bits; setuid and setgid are not taken from a bucket."""
    try:
        return int(info.meta["mode"], 8) & 0o1777
    except (KeyError, ValueError):
        return default


def same_looks(old: Entry, new: Entry) -> bool:
    """Whether mode and mtime need no new metadata (a large file keeps its old mtime in the bucket)."""
    if old.kind is not new.kind or old.permissions != new.permissions:
        return False
    return old.mtime_ns == new.mtime_ns or new.size > TOUCH_BYTES or new.kind is not Kind.FILE


def worn(entry: Entry, info: ObjectInfo) -> Entry:
    """The entry with the looks that a restore of the object would give it (a time that nobody stated stays)."""
    mtime_ns = mtime_of(info) if "mtime" in info.meta else entry.mtime_ns
    return entry._replace(mode=stat.S_IFREG | mode_of(info, FILE_MODE), mtime_ns=mtime_ns)
