"""The engine's `Files` on a simulated disk. Every call is a moment at which others may act or this node may die."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, cast

from sync.disk import FEW
from sync.errors import Unstable
from sync.names import OURS
from sync.tree import Entry, Kind
from tests.model.simulation.disk import TICK_NS, Disk, Inode, Stat
from tests.model.simulation.memory_store import Actor

FOLDER = "folder"  # where the synced folder lies on the disk: it can be lost without the disk
CHUNK = 64  # a person's edit may fall between two reads of this size


def entry_of(st: Stat) -> Entry:
    """As the real files see a stat result."""
    return Entry(*st[:5])


class OpenInode:
    """`Reading` of one inode."""

    def __init__(self, disk: Disk, node: Inode, path: str, actor: Actor, wall_ns: Callable[[], int]) -> None:
        self._disk, self._node, self._path, self._actor, self._wall_ns = disk, node, path, actor, wall_ns
        self.entry = entry_of(disk.stamp(node))

    def read_at(self, offset: int, length: int) -> bytes:
        pieces: list[bytes] = []
        while length > 0:
            self._actor.gate(f"read {self._path}")
            piece = bytes(self._node.content[offset : offset + min(length, CHUNK)])
            if not piece:
                raise Unstable("The file became shorter while it was read", where=self._path)
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    def check(self) -> None:
        self._actor.gate(f"check {self._path}")
        if entry_of(self._disk.stamp(self._node)) != self.entry:
            raise Unstable("The file changed while it was read", where=self._path)

    def is_racy(self) -> bool:
        age_ns = self._wall_ns() - self.entry.mtime_ns
        return 0 <= age_ns < 5 * TICK_NS


class MemoryFiles:
    """`Files` on `disk`, as one node's engine reaches it."""

    def __init__(self, disk: Disk, actor: Actor, wall_ns: Callable[[], int]) -> None:
        self._disk, self._actor, self._wall_ns = disk, actor, wall_ns
        self._links = 0

    def scan(self, folder: str) -> list[tuple[str, Entry]]:
        self._actor.gate(f"scan {folder}")
        where = _at(folder)
        found: list[tuple[str, Entry]] = []
        for name in self._disk.names(where):
            try:
                found.append((name, entry_of(self._disk.lstat(f"{where}/{name}"))))
            except FileNotFoundError:
                continue
        return found

    def entry(self, path: str) -> Entry | None:
        self._actor.gate(f"stat {path}")
        return self._entry(path)

    def _entry(self, path: str) -> Entry | None:
        try:
            return entry_of(self._disk.lstat(_at(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[OpenInode]:
        self._actor.gate(f"open {path}")
        node = self._disk.find(_at(path))
        reading = OpenInode(self._disk, node, path, self._actor, self._wall_ns)
        if reading.entry.kind is not Kind.FILE:
            raise Unstable("It is no longer a regular file", where=path)
        if not node.mode & 0o400:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        yield reading

    def target(self, path: str) -> str:
        self._actor.gate(f"readlink {path}")
        node = self._disk.find(_at(path))
        if not node.is_link:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return os.fsdecode(bytes(node.content))

    def snapshot(self, path: str) -> contextlib.AbstractContextManager[OpenInode] | None:
        return None

    def temp(self, name: str, *, keep: bool = False) -> BinaryIO:
        self._actor.gate(f"temp {name}")
        self._private()
        path = f"{_at(OURS)}/tmp/{name}"
        node = self._disk.find(path) if self._disk.exists(path) else None
        if node is not None and not (keep and self._disk.links(node) == 1):
            self._disk.unlink(path, who="engine")
            node = None
        if node is None:
            node = self._disk.create(path, mode=0o600, who="engine")
        return cast(BinaryIO, OpenTemp(self._disk, node))

    def discard(self, name: str) -> None:
        self._actor.gate(f"discard {name}")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._disk.unlink(f"{_at(OURS)}/tmp/{name}", who="engine")

    def settle(self, names: Sequence[str] = ()) -> None:
        self._actor.gate("settle")
        if 0 < len(names) <= FEW:
            for name in names:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    self._disk.fsync(self._disk.find(f"{_at(OURS)}/tmp/{name}"))
            return
        self._disk.fsync(self._disk.root)
        for _, node in self._disk.walk():
            self._disk.fsync(node)

    def publish(self, name: str, path: str, *, mtime_ns: int, mode: int, expect: Entry | None) -> Entry:
        self._actor.gate(f"publish {path}")
        source = f"{_at(OURS)}/tmp/{name}"
        self._parents(path)
        self._disk.chmod(source, mode)
        self._disk.utime(source, mtime_ns)
        return self._place(source, path, expect)

    def dress(self, path: str, *, mtime_ns: int, mode: int, expect: Entry) -> Entry:
        self._actor.gate(f"dress {path}")
        now = self._entry(path)
        if now is None or now[:5] != expect[:5]:
            raise Unstable("The file changed meanwhile", where=path)
        self._disk.chmod(_at(path), mode)
        self._disk.utime(_at(path), mtime_ns)
        return entry_of(self._disk.lstat(_at(path)))

    def make_link(self, path: str, target: str, *, expect: Entry | None) -> Entry:
        self._actor.gate(f"link {path}")
        self._parents(path)
        self._private()
        self._links += 1
        source = f"{_at(OURS)}/tmp/link-{self._links}"
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(source, who="engine")
        self._disk.symlink(target, source, who="engine")
        return self._place(source, path, expect)

    def _place(self, source: str, path: str, expect: Entry | None) -> Entry:
        self._actor.gate(f"place {path}")
        if expect is None:
            try:
                self._disk.rename(source, _at(path), who="engine", replace=False)
            except FileExistsError:
                raise Unstable("Something took the name meanwhile", where=path) from None
        else:
            now = self._entry(path)
            if now is None or now[:5] != expect[:5]:
                raise Unstable("The file changed meanwhile", where=path)
            self._disk.rename(source, _at(path), who="engine")
        entry = entry_of(self._disk.lstat(_at(path)))
        self._actor.gate(f"placed {path}")
        return entry

    def make_folder(self, path: str, *, mode: int) -> Entry:
        self._actor.gate(f"mkdir {path}")
        self._parents(path + "/x")
        if self._disk.find(_at(path)).mode & 0o7777 != mode:
            self._disk.chmod(_at(path), mode)
        return entry_of(self._disk.lstat(_at(path)))

    def move(self, source: str, target: str) -> Entry:
        self._actor.gate(f"move {source} {target}")
        self._parents(target)
        try:
            self._disk.rename(_at(source), _at(target), who="engine", replace=False)
        except FileExistsError:
            raise Unstable("Something took the name meanwhile", where=target) from None
        return entry_of(self._disk.lstat(_at(target)))

    def remove_folder(self, path: str) -> bool:
        self._actor.gate(f"rmdir {path}")
        try:
            self._disk.rmdir(_at(path), who="engine")
        except OSError:
            return False
        return True

    def read_marker(self) -> str | None:
        self._actor.gate("marker?")
        try:
            node = self._disk.find(f"{_at(OURS)}/folder-id")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return bytes(node.content).decode("ascii", "replace").strip() or None

    def write_marker(self, text: str) -> None:
        self._actor.gate("marker!")
        self._private()
        temp = f"{_at(OURS)}/tmp/folder-id"
        node = self._disk.create(temp, who="engine")
        self._disk.write(node, text.encode("ascii"), temp)
        self._disk.rename(temp, f"{_at(OURS)}/folder-id", who="engine")

    def temps(self) -> list[str]:
        self._actor.gate("temps")
        try:
            return sorted(self._disk.names(f"{_at(OURS)}/tmp"))
        except FileNotFoundError:
            return []

    def free_bytes(self) -> int:
        return self._disk.room_bytes

    def body(self, path: str) -> bytes:
        """A file's whole content, for a store that was given a path to read."""
        return bytes(self._disk.find(path).content)

    def _private(self) -> None:
        for folder in (FOLDER, _at(OURS), f"{_at(OURS)}/tmp"):
            with contextlib.suppress(FileExistsError):
                self._disk.mkdir(folder, who="engine")

    def _parents(self, path: str) -> None:
        here = FOLDER
        for part in path.split("/")[:-1]:
            here = f"{here}/{part}"
            if not self._disk.exists(here):
                with contextlib.suppress(FileExistsError):
                    self._disk.mkdir(here, who="engine")
            if not self._disk.find(here).is_dir:
                raise NotADirectoryError(errno.ENOTDIR, "a parent is not a folder", here)


class OpenTemp(io.RawIOBase):
    """A private file, open for update and unbuffered."""

    def __init__(self, disk: Disk, node: Inode) -> None:
        super().__init__()
        self._disk, self._node, self._position = disk, node, 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, body: object) -> int:
        piece = bytes(body)  # type: ignore[call-overload]
        if self._position > len(self._node.content):
            gap = bytes(self._position - len(self._node.content))
            self._disk.write(self._node, gap, who="engine")
        self._disk.write(self._node, piece, at=self._position, who="engine")
        self._position += len(piece)
        return len(piece)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        piece = bytes(self._node.content[self._position : self._position + len(view)])
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._node.content)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        if size <= len(self._node.content):
            kept = bytes(self._node.content[:size])
            self._disk.write(self._node, kept, truncate=True)
        else:
            self._disk.write(self._node, bytes(size - len(self._node.content)))
        return size

    def fileno(self) -> int:
        raise io.UnsupportedOperation("a simulated file has no descriptor")


def _at(path: str) -> str:
    return f"{FOLDER}/{path}" if path else FOLDER
