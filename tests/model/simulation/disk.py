"""One node's disk: inodes, names, stamps, and what a power cut leaves of them.

Contents are kept twice, as every process sees them and as they would be found after the power failed. The disk also
remembers every content that a *person's* programs gave a file, and every name that a person removed: an object in
the bucket must be one of the former, and a delete there needs one of the latter.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TICK_NS = 4_000_000  # the kernel stamps files with the time of its last tick (CONFIG_HZ=250)


@dataclass(slots=True, eq=False)
class Inode:
    """A file, folder or link."""

    number: int
    mode: int
    content: bytearray = field(default_factory=bytearray)  # of a link: its target
    names: dict[str, Inode] = field(default_factory=dict)  # of a folder
    mtime_ns: int = 0
    ctime_ns: int = 0
    durable: bytes | None = b""  # None: as in `content`
    durable_names: dict[str, Inode] | None = None  # None: as in `names`
    author: str = "user"  # "user" or "engine": who made it

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


class Stat(NamedTuple):
    """What `lstat` says, by the names of `os.stat_result`."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int
    st_dev: int = 1
    st_nlink: int = 1


class Disk:
    """A tree of inodes. Paths are `str`, relative to the disk's root; errors are the kernel's `OSError`s."""

    def __init__(
        self, clock_ns: Callable[[], int], states: set[tuple[str, bytes]] | None = None, room_bytes: int = 1 << 40
    ) -> None:
        self._clock_ns = clock_ns
        self.room_bytes = room_bytes
        self._next = 2
        self.changes = 0  # so far: what was looked at with the same number needs no second look
        self.root = Inode(1, stat.S_IFDIR | 0o755, durable_names=None)
        self.bells: list[Callable[[str, str], None]] = []  # told (kind, path) of every change, like inotify
        self.removed: dict[str, list[int]] = {}  # path -> when a person removed it
        # (path, content) that a person's program left behind, on any disk that shares this set
        self.states: set[tuple[str, bytes]] = set() if states is None else states
        self.halves: set[tuple[str, bytes]] = set()  # (path, content) in the middle of a slow save
        self.on_displaced: Callable[[str, Inode], None] = lambda path, node: None  # by the engine, from its name
        self.on_removed: Callable[[str, Inode], None] = lambda path, node: None  # because somebody deleted the object
        self.hidden: dict[str, float] = {}  # path -> until when it cannot be read, in simulated seconds
        self.shown: set[bytes] = set()  # contents that the engine put where a person sees them
        self._unused: list[int] = []  # inode numbers to give out again, as ext4 does at once

    # -- looking

    def find(self, path: str, *, follow: bool = False) -> Inode:
        """The inode at `path`; symlinks on the way are not followed (the engine must not)."""
        node = self.root
        for part in path.split("/") if path else ():
            if len(part) > 63 and len(os.fsencode(part)) > 255:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
            if node.mode & 0o170000 != stat.S_IFDIR:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            try:
                node = node.names[part]
            except KeyError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        if follow and node.is_link:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return node

    def exists(self, path: str) -> bool:
        """Whether the name exists (a dangling link does)."""
        try:
            self.find(path)
        except OSError:
            return False
        return True

    def lstat(self, path: str) -> Stat:
        """The stamp of a name."""
        return self.stamp(self.find(path))

    def stamp(self, node: Inode) -> Stat:
        """The stamp of an inode (`fstat`)."""
        size = 4096 if node.is_dir else len(node.content)
        return Stat(node.mode, size, node.mtime_ns, node.ctime_ns, node.number)

    def names(self, path: str) -> list[str]:
        """The names in a folder, in the order they were made."""
        node = self.find(path)
        if not node.is_dir:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if not node.mode & 0o400:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return list(node.names)

    def walk(self, path: str = "") -> Iterator[tuple[str, Inode]]:
        """Every (path, inode) below `path`."""
        for name, node in sorted(self.find(path).names.items()):
            inner = f"{path}/{name}" if path else name
            yield inner, node
            if node.is_dir:
                yield from self.walk(inner)

    def links(self, node: Inode) -> int:
        """How many names the inode has."""
        return sum(1 for _, found in self.walk() if found is node)

    # -- changing (who: "user" or "engine")

    def create(self, path: str, *, mode: int = 0o644, who: str = "user", exclusive: bool = False) -> Inode:
        """A new empty file, or the old one truncated in place, as open(path, "w") does."""
        folder, name = self._place(path)
        node = folder.names.get(name)
        if node is None:
            node = self._new(stat.S_IFREG | mode, who)
            self._link(folder, name, node, path)
        else:
            if exclusive:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            if node.is_dir:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            self.write(node, b"", path, truncate=True, who=who)
        return node

    def write(
        self,
        node: Inode,
        body: bytes,
        path: str = "",
        *,
        truncate: bool = False,
        at: int | None = None,
        who: str = "user",
    ) -> None:
        """Append `body`, write it at offset `at`, or replace all by it."""
        before = len(node.content)
        if self._used() + len(body) > self.room_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if who == "user":
            node.author = who
        if node.durable is None:
            node.durable = bytes(node.content)
        if truncate:
            del node.content[:]
        if at is None:
            node.content += body
        else:
            node.content[at : at + len(body)] = body
        node.mtime_ns = node.ctime_ns = self._now_ns()
        if body or before:
            self._ring("modified", path)

    def settled(self, node: Inode, path: str) -> None:
        """A person's program closed the file: this content counts as a state of the file, under all its names."""
        node.author = "user"
        for name, found in self.walk():
            if found is node:
                self.states.add((name, bytes(node.content)))
                self._ring("closed", name)

    def note_states(self, path: str) -> None:
        """What lies at `path` (and below) counts as states of these names: somebody moved it there."""
        node = self.find(path)
        if not node.is_dir:
            self.states.add((path, bytes(node.content)))
            return
        for inner, found in self.walk(path):
            if not found.is_dir:
                self.states.add((inner, bytes(found.content)))

    def note_twins(self, path: str = "") -> None:
        """What the `.~` twins below `path` hold counts as states of the files beside them: Jupyter's older copies."""
        for inner, node in self.walk(path):
            folder, _, name = inner.rpartition("/")
            if name.startswith(".~"):
                self.states.add((f"{folder}/{name[2:]}", bytes(node.content)))

    def fsync(self, node: Inode) -> None:
        """Content (or names, of a folder) as they are now survive a power cut."""
        if node.is_dir:
            node.durable_names = None
        else:
            node.durable = None

    def rename(self, old: str, new: str, *, who: str = "user", replace: bool = True) -> None:
        """As rename(2): atomic, over an existing file or an empty folder."""
        source, source_name = self._place(old)
        node = self.find(old)
        target, target_name = self._place(new)
        there = target.names.get(target_name)
        if there is node:
            return
        if there is not None:
            if not replace:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
            if there.is_dir and not node.is_dir:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), new)
            if node.is_dir and not there.is_dir:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), new)
            if there.is_dir and there.names:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), new)
        if who == "user":
            self._note_removed(old, node)
        if who == "engine":
            if there is not None:
                self.on_displaced(new, there)
            if "/.preflight/" in new and "/.preflight/" not in old:
                self.on_displaced(old, node)
                if "/.preflight/removed/" in new and not node.is_dir:
                    self.on_removed(old, node)
        if there is not None:
            self._unused.append(there.number)
        self._unlink(source, source_name)
        self._link(target, target_name, node, new, ring=False)
        if who == "engine" and "/.preflight/" not in new:
            moved = [node, *(n for _, n in self.walk(new))] if node.is_dir else [node]
            self.shown.update(bytes(n.content) for n in moved if not n.is_dir)
        node.ctime_ns = self._now_ns()
        self._ring("moved", old)
        self._ring("moved", new)

    def link(self, old: str, new: str) -> None:
        """A second name for one file (link(2)): fails when the new name exists."""
        node = self.find(old)
        folder, name = self._place(new)
        if name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        self._link(folder, name, node, new)
        node.ctime_ns = self._now_ns()

    def unlink(self, path: str, *, who: str = "user") -> None:
        """Remove a file or link."""
        folder, name = self._place(path)
        node = self.find(path)
        if node.is_dir:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if who == "user":
            self._note_removed(path, node)
        elif "/.preflight/" not in path:
            self.on_displaced(path, node)
        self._unlink(folder, name)
        if not self.links(node):
            self._unused.append(node.number)
        self._ring("deleted", path)

    def rmdir(self, path: str, *, who: str = "user") -> None:
        """Remove an empty folder."""
        folder, name = self._place(path)
        node = self.find(path)
        if not node.is_dir:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if node.names:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        if who == "user":
            self._note_removed(path, node)
        self._unlink(folder, name)
        self._ring("deleted", path)

    def remove_tree(self, path: str, *, who: str = "user") -> None:
        """`rm -r`, deepest first."""
        for inner, node in reversed(list(self.walk(path))):
            self.rmdir(inner, who=who) if node.is_dir else self.unlink(inner, who=who)
        self.rmdir(path, who=who) if self.find(path).is_dir else self.unlink(path, who=who)

    def mkdir(self, path: str, *, mode: int = 0o755, who: str = "user") -> None:
        """A new folder; FileExistsError when the name is taken."""
        folder, name = self._place(path)
        if name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._link(folder, name, self._new(stat.S_IFDIR | mode, who), path)

    def symlink(self, target: str, path: str, *, who: str = "user") -> None:
        """A new link."""
        folder, name = self._place(path)
        if name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        node = self._new(stat.S_IFLNK | 0o777, who)
        node.content += os.fsencode(target)
        node.durable = None
        self._link(folder, name, node, path)
        if who == "user":
            self.states.add((path, bytes(node.content)))

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits."""
        node = self.find(path)
        node.mode = stat.S_IFMT(node.mode) | mode
        node.ctime_ns = self._now_ns()
        self._ring("modified", path)

    def show(self, node: Inode, mode: int) -> None:
        """Give a hidden inode its permissions back, wherever it lies by now."""
        node.mode = stat.S_IFMT(node.mode) | mode
        node.ctime_ns = self._now_ns()

    def utime(self, path: str, mtime_ns: int) -> None:
        """Set the modification time (the change time tells on it)."""
        node = self.find(path)
        node.mtime_ns = mtime_ns
        node.ctime_ns = self._now_ns()
        self._ring("modified", path)

    # -- disasters

    def cut_power(self, rng: random.Random, *, loses_names: bool) -> None:
        """Contents that were not fsynced may be lost, torn or kept; with `loses_names`, names may be as before.

        File systems order their own changes: names are only lost together with what was written after them.
        """
        self.changes += 1
        seen: set[int] = set()
        placed = {self.root.number}  # a folder has one name: one that was moved is not in both places
        torn: list[Inode] = []
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node.number in seen:
                continue
            seen.add(node.number)
            if node.is_dir:
                if loses_names and node.durable_names is not None and rng.random() < 0.5:
                    node.names = dict(node.durable_names)
                node.durable_names = None
                node.names = {n: c for n, c in node.names.items() if not (c.is_dir and c.number in placed)}
                placed.update(c.number for c in node.names.values() if c.is_dir)
                stack.extend(node.names.values())
            elif node.durable is not None:
                kept = rng.choice((node.durable, b"", bytes(node.content[: len(node.content) // 2]), None))
                if kept is not None:
                    node.content = bytearray(kept)
                    torn.append(node)
                node.durable = None
        for path, node in self.walk():
            if not node.is_dir and (node.author == "user" or node not in torn):
                self.states.add((path, bytes(node.content)))  # torn or under an older name: what the file now holds
        self.note_twins()  # a torn twin is still all that is left of a save that was under way

    # -- inside

    def _now_ns(self) -> int:
        self.changes += 1  # every change asks for a stamp
        return self._clock_ns() // TICK_NS * TICK_NS

    def _used(self) -> int:
        return 0 if self.room_bytes >= 1 << 40 else sum(len(n.content) for _, n in self.walk())

    def _new(self, mode: int, who: str) -> Inode:
        if self._unused:
            number = self._unused.pop()
        else:
            self._next += 1
            number = self._next
        now = self._now_ns()
        return Inode(number, mode, mtime_ns=now, ctime_ns=now, author=who)

    def _place(self, path: str) -> tuple[Inode, str]:
        folder, _, name = path.rpartition("/")
        node = self.find(folder)
        if not node.is_dir:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if len(name) > 63 and len(os.fsencode(name)) > 255:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        return node, name

    def _link(self, folder: Inode, name: str, node: Inode, path: str, *, ring: bool = True) -> None:
        if folder.durable_names is None:
            folder.durable_names = dict(folder.names)
        folder.names[name] = node
        folder.mtime_ns = folder.ctime_ns = self._now_ns()
        if ring:
            self._ring("created", path)

    def _unlink(self, folder: Inode, name: str) -> None:
        if folder.durable_names is None:
            folder.durable_names = dict(folder.names)
        del folder.names[name]
        folder.mtime_ns = folder.ctime_ns = self._now_ns()

    def _note_removed(self, path: str, node: Inode) -> None:
        self.removed.setdefault(path, []).append(self._clock_ns())
        if node.is_dir:
            for inner, _ in self.walk(path):
                self.removed.setdefault(inner, []).append(self._clock_ns())

    def _ring(self, kind: str, path: str) -> None:
        for bell in self.bells:
            bell(kind, path)
