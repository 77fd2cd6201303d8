"""From the folder to what differs from the journal, one directory at a time and without holding the tree.

A directory whose listing hashes to what it was when nothing differed costs no journal read. What is missing is
only ever concluded from a complete listing of the directory that should hold it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sync import plan
from sync.errors import SyncError
from sync.files import Files
from sync.ignore import FILE as IGNORE_FILE
from sync.ignore import Ignore
from sync.names import join
from sync.plan import Op
from sync.state import Journal
from sync.tree import Entry, Kind

log = logging.getLogger(__name__)

MAX_IGNORE_BYTES = 256 * 1024


class _Memo(NamedTuple):
    print: int | None  # of the listing when nothing differed from the journal; None: something did
    subfolders: tuple[str, ...]
    inos: tuple[int, ...]  # of the subfolders: another folder may have taken a name
    walk: int  # the last walk that saw this directory


@dataclass(slots=True)
class Diff:
    """How one directory differs from the journal."""

    folder: str
    changed: dict[str, Entry] = field(default_factory=dict)  # by path
    gone: list[str] = field(default_factory=list)  # paths
    twins: frozenset[str] = frozenset()  # paths whose `.~` twin exists: JupyterLab is saving them
    subfolders: tuple[str, ...] = ()  # names
    inos: tuple[int, ...] = ()  # theirs
    new_subfolders: tuple[str, ...] = ()  # names that were not there before
    problem: str = ""  # why the directory cannot be read
    is_missing: bool = False


class Scanner:
    """Scans directories. Not thread-safe: belongs to the control thread, like the journal."""

    def __init__(self, files: Files, journal: Journal) -> None:
        self._files = files
        self._journal = journal
        self._memos: dict[str, _Memo] = {}
        self._walk = 0
        self.ignore = Ignore()
        self.problems: dict[str, str] = {}  # unreadable directories

    def read_ignore(self) -> bool:
        """Read `.preflightignore` again; True if the rules may have changed."""
        try:
            with self._files.open(IGNORE_FILE) as reading:
                raw = reading.read_at(0, min(reading.entry.size, MAX_IGNORE_BYTES))
            lines = raw.decode("utf-8", "replace").splitlines()
        except (OSError, SyncError):
            lines = []
        self.ignore = Ignore(lines)
        for fault in self.ignore.faults:
            log.warning("A line of the ignore file is not understood", extra={"fault": fault})
        self.forget()
        return True

    def forget(self, folder: str | None = None) -> None:
        """Drop what is remembered of one folder's listing (None: of all)."""
        if folder is None:
            self._memos.clear()
        elif (memo := self._memos.get(folder)) is not None:
            self._memos[folder] = memo._replace(print=None)

    def folders(self) -> list[str]:
        """Every folder seen by a scan."""
        return list(self._memos)

    def begin_walk(self) -> int:
        """Number a new walk of the whole tree."""
        self._walk += 1
        return self._walk

    def scan(self, folder: str) -> Diff:
        """Compare one directory with the journal."""
        try:
            listing = self._files.scan(folder)
        except (FileNotFoundError, NotADirectoryError):
            self._memos.pop(folder, None)
            self.problems.pop(folder, None)
            return Diff(folder, is_missing=True)
        except OSError as error:
            self.problems[folder] = f"The folder cannot be read: {error.strerror}"
            self._memos.pop(folder, None)
            return Diff(folder, problem=self.problems[folder])
        if self.problems:
            self.problems.pop(folder, None)
        fingerprint = hash(frozenset(listing))
        memo = self._memos.get(folder)
        if memo is not None and memo.print == fingerprint:
            if memo.walk != self._walk:
                self._memos[folder] = _Memo(memo.print, memo.subfolders, memo.inos, self._walk)
            return Diff(folder, subfolders=memo.subfolders)
        diff = self._compare(folder, listing)
        before = memo.subfolders if memo is not None else ()
        if memo is not None and (before != diff.subfolders or memo.inos != diff.inos):
            here = frozenset(diff.subfolders)
            for name in before:
                if name not in here:
                    self._lose(join(folder, name), diff)
            known = set(zip(before, memo.inos, strict=True))
            now = zip(diff.subfolders, diff.inos, strict=True)
            diff.new_subfolders = tuple(name for name, ino in now if (name, ino) not in known)
        elif memo is None:
            diff.new_subfolders = diff.subfolders
        is_clean = not diff.changed and not diff.gone
        self._memos[folder] = _Memo(fingerprint if is_clean else None, diff.subfolders, diff.inos, self._walk)
        return diff

    def _compare(self, folder: str, listing: list[tuple[str, Entry]]) -> Diff:
        rows = self._journal.rows(folder)
        diff = Diff(folder)
        names: set[str] = set()
        subfolders: list[str] = []
        inos: list[int] = []
        twins: list[str] = []
        sides = {name: entry for name, entry in listing if name.endswith(("-wal", "-journal")) and entry.size}
        for name, entry in listing:
            path = join(folder, name)
            kind = entry.kind
            if name.startswith(".~"):
                twins.append(join(folder, name[2:]))
            if self.ignore.why(path, is_folder=kind is Kind.DIR):
                continue
            if kind is Kind.DIR:
                subfolders.append(name)
                inos.append(entry.ino)
                continue
            if sides and kind is Kind.FILE:
                entry = with_sides(entry, sides.get(name + "-wal"), sides.get(name + "-journal"))
            names.add(name)
            if plan.push(entry, rows.get(name)) is Op.PUT:
                diff.changed[path] = entry
        folders = frozenset(subfolders)
        for name in rows:
            path = join(folder, name)
            is_there = name[:-1] in folders if name.endswith("/") else name in names
            if not is_there and not self.ignore.covers(path):
                diff.gone.append(path)
        diff.subfolders = tuple(subfolders)
        diff.inos = tuple(inos)
        diff.twins = frozenset(twins)
        if folder:
            has_ignored = any(name not in names and self.ignore.covers(join(folder, name)) for name in rows)
            self._compare_marker(folder, not (names or subfolders or has_ignored), diff)
        return diff

    def _compare_marker(self, folder: str, is_empty: bool, diff: Diff) -> None:
        """An empty directory is an object of its own; one with content is not."""
        marker = folder + "/"
        row = self._journal.row(marker)
        if not is_empty:
            if row is not None:
                diff.gone.append(marker)
            return
        entry = self._files.entry(folder)
        if entry is not None and plan.push(entry, row) is Op.PUT:
            diff.changed[marker] = entry

    def _lose(self, folder: str, diff: Diff) -> None:
        """`folder` is no longer in its parent's complete listing: everything below is gone."""
        for known in [f for f in self._memos if f == folder or f.startswith(folder + "/")]:
            del self._memos[known]
        if self._journal.row(folder + "/") is not None:
            diff.gone.append(folder + "/")
        diff.gone.extend(path for path, _ in self._journal.below(folder) if not self.ignore.covers(path))

    def unseen(self, walk: int) -> Iterator[str]:
        """Paths of journal rows whose directory the finished `walk` did not find and could have found."""
        for folder in [f for f in self.problems if self._is_gone(f, walk)]:
            del self.problems[folder]  # it could not be read while it was there, and now it is not there
        lost = [f for f in self._journal.folders() if f and not self._was_seen(f, walk)]
        for folder in lost:
            if self._is_blocked(folder) or self.ignore.covers(folder + "/"):
                continue
            for name in self._journal.rows(folder):
                yield join(folder, name)

    def _was_seen(self, folder: str, walk: int) -> bool:
        memo = self._memos.get(folder)
        return memo is not None and memo.walk >= walk

    def _is_gone(self, folder: str, walk: int) -> bool:
        """Whether a complete listing of this walk proves that `folder`, or a folder around it, is not there."""
        at = ""
        for name in folder.split("/") if folder else ():
            memo = self._memos.get(at)
            if memo is None or memo.walk < walk:
                return False
            if name not in memo.subfolders:
                return True
            at = join(at, name)
        return False

    def _is_blocked(self, folder: str) -> bool:
        return any(folder == p or folder.startswith(p + "/") or not p for p in self.problems)


def with_sides(entry: Entry, log_entry: Entry | None, journal_entry: Entry | None) -> Entry:
    """The entry of a database with its companions folded in: a commit may touch nothing but the log."""
    sides = [s for s in (log_entry, journal_entry) if s is not None]
    if not sides:
        return entry
    extra = 0
    for side in sides:
        extra = (extra * 1_000_003 + side.mtime_ns * 31 + side.size) % (1 << 62)
    return entry._replace(extra=extra or 1)
