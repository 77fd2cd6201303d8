"""What the engine may do to the folder: the contract, so that a simulated folder can take the disk's place.

Paths are relative (see `names`). Symbolic links are never followed, so nothing outside the folder is read or
written. Only `sync.errors` and these OSErrors leave: FileNotFoundError, NotADirectoryError, PermissionError and
other OSErrors of a place that cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from sync.tree import Entry


class Reading(Protocol):
    """An open file whose state at opening is `entry`."""

    entry: Entry

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises Unstable if the file is shorter or changed since it was opened."""
        ...

    def check(self) -> None:
        """Raises Unstable if the file is not what it was when it was opened."""
        ...

    def is_racy(self) -> bool:
        """Whether a write could have followed within the tick of the file's clock, unseen by `check`."""
        ...


class Files(Protocol):
    """The synced folder."""

    def scan(self, folder: str) -> list[tuple[str, Entry]]:
        """Every name directly in `folder`. Complete, or raises: FileNotFoundError when it is gone.

        Directories come with mode and inode only: their times tell of other folders' changes.
        """
        ...

    def entry(self, path: str) -> Entry | None:
        """`lstat`, or None when nothing is there."""
        ...

    def open(self, path: str) -> AbstractContextManager[Reading]:
        """Open a regular file for stable reading. Raises Unstable if it is something else by now."""
        ...

    def target(self, path: str) -> str:
        """What a symbolic link says."""
        ...

    def snapshot(self, path: str) -> AbstractContextManager[Reading] | None:
        """A consistent private copy of an SQLite database; None if `path` is none. Raises Unstable when busy."""
        ...

    def temp(self, name: str, *, keep: bool = False) -> BinaryIO:
        """A private file beside the folder, on the same file system; `keep` opens what is there for update."""
        ...

    def discard(self, name: str) -> None:
        """Remove a private file; a missing one is fine."""
        ...

    def settle(self, names: Sequence[str] = ()) -> None:
        """Make these private files durable, or all of them (one call for a batch)."""
        ...

    def publish(self, name: str, path: str, *, mtime_ns: int, mode: int, expect: Entry | None) -> Entry:
        """Give the private file its place, atomically, parents included.

        `expect` is what must be there now (None: nothing). Raises Unstable if something else is, and then
        the user's file is untouched. Raises NotADirectoryError if a parent is a file or a link.
        """
        ...

    def dress(self, path: str, *, mtime_ns: int, mode: int, expect: Entry) -> Entry:
        """Give a file another mode and time. Raises Unstable if it is not what is expected.

        A write in this very moment may be missed: the caller must have the file read again.
        """
        ...

    def make_link(self, path: str, target: str, *, expect: Entry | None) -> Entry:
        """A symbolic link, like `publish`."""
        ...

    def make_folder(self, path: str, *, mode: int) -> Entry:
        """A directory (an existing one is fine), parents included."""
        ...

    def move(self, source: str, target: str) -> Entry:
        """Rename without overwriting; parents are made. Raises Unstable if the target exists."""
        ...

    def remove_folder(self, path: str) -> bool:
        """Remove an empty directory; False if it is not empty or not there."""
        ...

    def read_marker(self) -> str | None:
        """The folder's identity, or None."""
        ...

    def write_marker(self, text: str) -> None:
        """Give the folder an identity (makes the folder if it is gone)."""
        ...

    def temps(self) -> list[str]:
        """Names of private files left by an earlier life."""
        ...

    def free_bytes(self) -> int:
        """Room left for the folder."""
        ...
