"""Files that are whole or not there: written beside, fsynced, then put in place by one rename."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

TEMP_PREFIX = ".~"  # the sync ignores this pattern, and Jupyter hides it
TEMP_SUFFIX = ".saving"
LONGEST_NAME_BYTES = 255
ABANDONED_AFTER_S = 3600.0  # a temp file this much older than the one being written has no writer


def temp_path(path: Path, suffix: str) -> Path:
    """A name beside `path` that is never synced and fits the file system's limit."""
    stem = os.fsencode(path.name)[: LONGEST_NAME_BYTES - len(TEMP_PREFIX) - len(suffix)]
    return path.with_name(TEMP_PREFIX + os.fsdecode(stem) + suffix)


@contextmanager
def atomic_writing(
    path: str | os.PathLike[str], text: bool = True, encoding: str = "utf-8", **options: Any
) -> Iterator[IO[Any]]:
    """Write beside the file, fsync, replace: a reader sees the old file or the new one, also after a power cut.

    Through a symlink the target is replaced and the link stays. Mode and owner are kept. Where no new file can be made
    (a folder without write permission, a device) the file is written in place, as Jupyter does. An error inside the
    block leaves the old file untouched. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    if text:
        options.setdefault("newline", "\n")
        options["encoding"] = encoding
    options.pop("log", None)
    mode = "w" if text else "wb"
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(f"File is not writable: {target}")
    if old is not None and not (stat.S_ISREG(old.st_mode) and os.access(target.parent, os.W_OK)):
        with open(target, mode, **options) as direct:
            yield direct
        return
    temp = temp_path(target, f".{secrets.token_hex(4)}{TEMP_SUFFIX}")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(fd, mode, **options) as file:
            if old is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(fd, old.st_uid, old.st_gid)
                os.fchmod(fd, stat.S_IMODE(old.st_mode))
            yield file
            file.flush()
            os.fsync(fd)
            born_at = os.fstat(fd).st_mtime
        os.replace(temp, target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    sweep(target, born_at)


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Some network file systems cannot; the file is whole either way."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sweep(target: Path, now_s: float) -> None:
    """Remove what killed saves of this one file left behind."""
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            mine = entry.name.startswith(TEMP_PREFIX + target.name[:100]) and entry.name.endswith(TEMP_SUFFIX)
            if mine and entry.stat(follow_symlinks=False).st_mtime < now_s - ABANDONED_AFTER_S:
                os.unlink(entry.path)
