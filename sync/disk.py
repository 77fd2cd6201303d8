"""The real folder. Every write goes to a private file first and takes its place by one rename."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from sync.clock import Clock
from sync.database import snapshot_of
from sync.errors import DiskFull, SyncError, Unstable
from sync.names import OURS
from sync.open_file import OpenFile, entry_of
from sync.tree import Entry, Kind

_LIBC = ctypes.CDLL(None, use_errno=True)
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_FORMAT = 0o170000
_SYNC_FILE_RANGE_WRITE = 2
_new = tuple.__new__  # a scan makes an entry a file: its keyword-taking constructor costs three times as much

FEW = 4
EARLY_BYTES = 1024 * 1024


class _Private(io.FileIO):
    """A private file. Large pieces set out for the disk at once: who waits for all of them then waits for the last."""

    def write(self, piece: Any) -> int:
        at = self.tell() if len(piece) >= EARLY_BYTES else 0
        written = super().write(piece)
        if written >= EARLY_BYTES:  # a file system without it loses nothing
            _LIBC.sync_file_range(
                self.fileno(), ctypes.c_int64(at), ctypes.c_int64(written), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)
            )
        return written


class DiskFiles:
    """`Files` on a disk."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = str(root)
        self._clock = clock
        self._private = f"{self._root}/{OURS}/tmp"

    def _temp(self, name: str) -> str:
        """Where a private file lies. A restore makes thousands, in several threads: in one folder they would wait for
        each other in the kernel (0.3 ms of CPU a file with sixteen threads, 0.1 ms in sixteen folders)."""
        return f"{self._private}/{name[4]}/{name}" if name[:4] == "get-" else f"{self._private}/{name}"

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _inside(self, path: str) -> str:
        """The same, after a look that no folder on the way is a link. Raises NotADirectoryError if one is."""
        folder = path.rpartition("/")[0]
        while folder:
            if stat.S_ISLNK(os.lstat(f"{self._root}/{folder}").st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "a parent is a link", path)
            folder = folder.rpartition("/")[0]
        return self._at(path)

    def scan(self, folder: str) -> list[tuple[str, Entry]]:
        """See `Files`."""
        found: list[tuple[str, Entry]] = []
        # A folder that became a link holds nothing of ours: what it leads to is scanned where it lies.
        if folder and stat.S_ISLNK(os.lstat(self._inside(folder)).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "the folder is a link now", folder)
        with os.scandir(self._at(folder)) as entries:
            for item in entries:
                try:
                    st = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                mode = st.st_mode
                if mode & _FORMAT == stat.S_IFDIR:
                    entry = _new(Entry, (mode, 0, 0, 0, st.st_ino, 0))
                else:
                    entry = _new(Entry, (mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, 0))
                found.append((item.name, entry))
        return found

    def entry(self, path: str) -> Entry | None:
        """See `Files`."""
        try:
            return entry_of(os.lstat(self._inside(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None  # nothing can be there
            raise

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[OpenFile]:
        """See `Files`."""
        try:
            fd = os.open(self._inside(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise Unstable("It is no longer a regular file", where=path) from error
            raise
        try:
            reading = OpenFile(fd, path, self._clock)
            if reading.entry.kind is not Kind.FILE:
                raise Unstable("It is no longer a regular file", where=path)
            yield reading
        finally:
            os.close(fd)

    def target(self, path: str) -> str:
        """See `Files`."""
        return os.readlink(self._at(path))

    def snapshot(self, path: str) -> contextlib.AbstractContextManager[OpenFile] | None:
        """See `Files`."""
        return snapshot_of(self._at(path), self._private, self._clock)

    def temp(self, name: str, *, keep: bool = False) -> BinaryIO:
        """See `Files`. What lies there may be another name of a person's file (tools that join equal files by hard
        links, a power cut in the middle of a rename): only what has no second name is written into.
        """
        path = self._temp(name)
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        if keep:
            with contextlib.suppress(OSError):
                fd = os.open(path, flags)
                if os.fstat(fd).st_nlink == 1:
                    return cast(BinaryIO, _Private(fd, "r+"))
                os.close(fd)
        flags |= os.O_CREAT | os.O_EXCL
        try:
            fd = os.open(path, flags, 0o600)
        except FileExistsError:
            os.unlink(path)
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            fd = os.open(path, flags, 0o600)
        return cast(BinaryIO, _Private(fd, "r+"))

    def discard(self, name: str) -> None:
        """See `Files`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temp(name))

    def settle(self, names: Sequence[str] = ()) -> None:
        """See `Files`. One syncfs for a batch: an fsync a file costs milliseconds each.

        A syncfs waits for what everybody else wrote, too: not for the sake of a few.
        """
        if 0 < len(names) <= FEW:
            for name in names:
                with contextlib.suppress(FileNotFoundError), open(self._temp(name), "rb") as file:
                    os.fsync(file.fileno())
            return
        fd = os.open(self._private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _LIBC.syncfs(fd) != 0:
                os.sync()
        finally:
            os.close(fd)

    def publish(self, name: str, path: str, *, mtime_ns: int, mode: int, expect: Entry | None) -> Entry:
        """See `Files`."""
        source, target = self._temp(name), self._at(path)
        self._parents(path)
        os.chmod(source, mode)
        os.utime(source, ns=(mtime_ns, mtime_ns))
        self._place(source, path, target, expect)
        return entry_of(os.lstat(target))

    def dress(self, path: str, *, mtime_ns: int, mode: int, expect: Entry) -> Entry:
        """See `Files`."""
        with self.open(path) as reading:
            if reading.entry[:5] != expect[:5]:
                raise Unstable("The file changed meanwhile", where=path)
            return reading.dress(mtime_ns, mode)

    def make_link(self, path: str, target: str, *, expect: Entry | None) -> Entry:
        """See `Files`."""
        self._parents(path)
        os.makedirs(self._private, mode=0o700, exist_ok=True)
        source = f"{self._private}/link-{abs(hash((path, target))):x}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(source)
        os.symlink(target, source)
        self._place(source, path, self._at(path), expect)
        return entry_of(os.lstat(self._at(path)))

    def _place(self, source: str, path: str, target: str, expect: Entry | None) -> None:
        if expect is None:
            if not rename_new(source, target):
                raise Unstable("Something took the name meanwhile", where=path)
            return
        now = self.entry(path)
        if now is None or now[:5] != expect[:5]:
            raise Unstable("The file changed meanwhile", where=path)
        os.rename(source, target)

    def make_folder(self, path: str, *, mode: int) -> Entry:
        """See `Files`."""
        self._parents(path + "/x")
        target = self._at(path)
        if stat.S_IMODE(os.lstat(target).st_mode) != mode:
            os.chmod(target, mode)
        return entry_of(os.lstat(target))

    def move(self, source: str, target: str) -> Entry:
        """See `Files`."""
        self._parents(target)
        if not rename_new(self._at(source), self._at(target)):
            raise Unstable("Something took the name meanwhile", where=target)
        return entry_of(os.lstat(self._at(target)))

    def remove_folder(self, path: str) -> bool:
        """See `Files`."""
        try:
            os.rmdir(self._at(path))
        except OSError:
            return False
        return True

    def _parents(self, path: str) -> None:
        """Make the parents of `path`, each a real directory: a link among them would lead out of the folder."""
        folder = path.rpartition("/")[0]
        if not folder:
            return
        here = self._root
        for part in folder.split("/"):
            here = f"{here}/{part}"
            try:
                st = os.lstat(here)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(here)
                st = os.lstat(here)
            if not stat.S_ISDIR(st.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "a parent is not a folder", here)

    def read_marker(self) -> str | None:
        """See `Files`."""
        try:
            with open(f"{self._root}/{OURS}/folder-id", encoding="ascii", errors="replace") as file:
                return file.read().strip() or None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_marker(self, text: str) -> None:
        """See `Files`."""
        with self.temp("folder-id") as file:
            file.write(text.encode("ascii"))
        os.replace(f"{self._private}/folder-id", f"{self._root}/{OURS}/folder-id")

    def temps(self) -> list[str]:
        """See `Files`."""
        return sorted(name for _, _, names in os.walk(self._private) for name in names)

    def free_bytes(self) -> int:
        """See `Files`."""
        fs = os.statvfs(self._root)
        return fs.f_bavail * fs.f_frsize


def rename_new(source: str, target: str) -> bool:
    """Rename unless `target` exists (then False), in one step."""
    status = _LIBC.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    if code in (errno.EINVAL, errno.ENOSYS, errno.EPERM):  # a file system without the flag
        if os.path.lexists(target):
            return False
        os.rename(source, target)
        return True
    raise OSError(code, os.strerror(code), target)


def classified(error: OSError, path: str) -> SyncError | None:
    """The error of ours that a local OSError means, or None where it is only about this one path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("The disk is full", where=path, hint="free some space; the rest is fetched then")
    return None
