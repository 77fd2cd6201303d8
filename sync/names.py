"""Paths of the folder <-> keys of the bucket, for every legal file name, with no way out of the folder.

A path is `str` relative to the folder, `/`-separated, with undecodable bytes as surrogates (PEP 383). Keys
follow rclone's convention for what UTF-8 cannot say: an invalid byte XX is `‛XX`, a literal `‛` is `‛‛`.
"""

from __future__ import annotations

import datetime
import os
import posixpath

OURS = ".preflight"  # the only name at the root of folder and bucket that is ours
TRASH = f"{OURS}/trash"
STRANDED = f"{OURS}/stranded"
LEASE = f"{OURS}/lease.json"
_QUOTE = "\u201b"
_HEX = "0123456789ABCDEF"
MAX_NAME_BYTES = 255  # NAME_MAX of Linux
MAX_PATH_BYTES = 4000  # PATH_MAX is 4096, less the folder's own path


def key_of(path: str) -> str:
    """The key that stores `path`."""
    if _QUOTE in path:
        path = path.replace(_QUOTE, _QUOTE + _QUOTE)
    try:
        path.encode()
    except UnicodeEncodeError:
        return "".join(f"{_QUOTE}{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in path)
    return path


def path_of(key: str) -> str:
    """The path that `key` stores; the inverse of `key_of`. Says nothing about whether the path is usable."""
    if _QUOTE not in key:
        return key
    out: list[str] = []
    i = 0
    while i < len(key):
        if key[i] == _QUOTE:
            if key[i + 1 : i + 2] == _QUOTE:
                out.append(_QUOTE)
                i += 2
                continue
            pair = key[i + 1 : i + 3]
            if len(pair) == 2 and pair[0] in _HEX and pair[1] in _HEX and int(pair, 16) >= 0x80:
                out.append(chr(0xDC00 + int(pair, 16)))
                i += 3
                continue
        out.append(key[i])
        i += 1
    # Escaped bytes that together are UTF-8 become the characters that a scan would report.
    return os.fsdecode(os.fsencode("".join(out)))


def why_unusable(key: str) -> str:
    """Why `key` cannot become a file of the folder, as a sentence; "" when it can."""
    body = key[:-1] if key.endswith("/") else key
    if not body or body.startswith("/"):
        return "the key begins with a slash"
    if "\0" in body:
        return "the key holds a NUL character"
    path = path_of(body)
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"the key holds the path part {part!r}"
        if len(os.fsencode(part)) > MAX_NAME_BYTES:
            return "a part of the name is longer than 255 bytes"
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        return "the path is longer than 4,000 bytes"
    if key_of(path) != body:
        return "the key is not the one that this file name is stored under"
    return ""


def is_ours(path: str) -> bool:
    """Whether a path or key belongs to this toolkit and not to the user."""
    return path == OURS or path.startswith(OURS + "/")


def split(path: str) -> tuple[str, str]:
    """(directory, name); the root directory is "" and a marker `a/b/` belongs to `a` under the name `b/`."""
    if path.endswith("/"):
        folder, _, name = path[:-1].rpartition("/")
        return folder, name + "/"
    folder, _, name = path.rpartition("/")
    return folder, name


def join(folder: str, name: str) -> str:
    """The path of `name` in `folder`."""
    return f"{folder}/{name}" if folder else name


def stamp(seconds: float) -> str:
    """UTC as `YYYYMMDDTHHMMSSZ`, which sorts by time."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


def unstamp(text: str) -> float | None:
    """Seconds since the epoch of a `stamp`, or None."""
    try:
        return datetime.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp()
    except ValueError:
        return None


def conflict_path(path: str, machine: str, at: float, attempt: int = 0) -> str:
    """Where the other content of a conflict survives: `name (conflict <machine> <time>).ext`."""
    folder, name = posixpath.split(path)
    stem, ext = posixpath.splitext(name)
    again = f" {attempt + 1}" if attempt else ""
    tail = f" (conflict {machine.replace('/', '_')} {stamp(at)}{again})"
    room = MAX_NAME_BYTES - len(os.fsencode(tail + ext))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return posixpath.join(folder, f"{stem}{tail}{ext}") if folder else f"{stem}{tail}{ext}"


def trash_key(path: str, at: float) -> str:
    """The key under which a deleted object waits for 30 days."""
    return f"{TRASH}/{stamp(at)}/{key_of(path)}"
