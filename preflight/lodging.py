"""A folder in /tmp that is a process's own as long as it lives: what a dead one left, the next start clears away.

The kernel drops the lock with the process that holds it, however it ends: nothing is guessed from ages or pids.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

OWNER = ".owner"  # locked by whoever lives here


@dataclass(slots=True)
class Lodging:
    """One folder and the lock on it; `lock` is None where somebody else holds it, or nothing can be locked."""

    folder: Path
    lock: int | None

    @classmethod
    def take(cls, folder: Path) -> Lodging:
        """Move in; the folder exists and is ours (0700). Never raises: without a lock it is merely not cleared away."""
        with suppress(OSError):
            for _ in range(3):
                lock = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                if not _locked(lock):
                    os.close(lock)
                    break
                if _is_there(folder / OWNER, lock):
                    return cls(folder, lock)
                os.close(lock)  # somebody cleared it away between the two steps
                folder.mkdir(mode=0o700, exist_ok=True)
        return cls(folder, None)

    def leave(self) -> None:
        """Clear it away, if it is ours. Nobody who still runs needs it."""
        if self.lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self.lock)
            self.lock = None


def clear_abandoned(parent: Path, prefix: str) -> int:
    """Remove folders of this user whose owner is dead; how many. A folder without a lock file is left alone."""
    cleared = 0
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            seen = folder.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
                continue
            lock = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _locked(lock) and _is_there(folder / OWNER, lock):
                    shutil.rmtree(folder, ignore_errors=True)
                    cleared += 1
            finally:
                os.close(lock)
    return cleared


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except OSError:
        return False
