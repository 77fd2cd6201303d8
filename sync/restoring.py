"""One pull: list, compare folder by folder, fetch, place. The engine runs it at start and on command.

Nothing is planned before the listing is complete; a listing that fails leaves everything as it was. Journal rows are
written only for files that took their places, so a pull that is killed leaves nothing that looks deleted.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sync import plan
from sync.errors import Corrupt, Denied, Misconfigured, NotFound, SyncError
from sync.files import Files
from sync.lease import Predecessor
from sync.names import is_ours, join, path_of, why_unusable
from sync.plan import Op
from sync.scan import Scanner
from sync.state import Journal
from sync.stores import Store
from sync.tree import Entry, Kind, Remote, Row
from sync.work import Failed, Fetched, Listed, Outcome

CHUNK = 2000  # objects handed over at once
BATCH_FILES = 256  # placed by one sync of the disk
BATCH_BYTES = 64 * 1024 * 1024
BATCH_S = 0.5
REFUSALS = 3  # of one object while others arrive: then it is this object and not the credentials


@dataclass(frozen=True, slots=True)
class Pull:
    """One path that the folder needs something for."""

    path: str
    op: Op
    remote: Remote | None
    local: Entry | None


def list_all(store: Store, post: Callable[[Outcome], None]) -> Outcome:
    """The whole listing, handed over in pieces. Runs in a worker."""
    chunk: list[tuple[str, Remote]] = []
    unusable: list[tuple[str, str]] = []
    try:
        for info in store.list(""):
            if is_ours(info.key):
                continue
            if why := why_unusable(info.key):
                unusable.append((info.key, f"It stays in the bucket: {why}"))
                continue
            marker = "/" if info.key.endswith("/") else ""
            if marker and info.size:
                unusable.append((info.key, "It stays in the bucket: the key ends with a slash and has content"))
                continue
            path = path_of(info.key.rstrip("/")) + marker
            chunk.append((path, Remote(info.size, info.version, info.modified, info.md5)))
            if len(chunk) >= CHUNK:
                post(Listed(tuple(chunk)))
                chunk = []
    except NotFound as error:
        return Failed("", Misconfigured(error.what, where=error.where, hint=error.hint))
    except SyncError as error:
        return Failed("", error)
    return Listed(tuple(chunk), tuple(unusable[:1000]), is_last=True)


@dataclass(slots=True)
class Restore:
    """The state of one pull. Belongs to the control thread."""

    is_listed: bool = False
    files_done: int = 0
    bytes_done: int = 0
    files_total: int | None = None
    bytes_total: int | None = None
    plan: Iterator[Pull] | None = None
    is_planned: bool = False
    in_flight: dict[str, int] = field(default_factory=dict)  # path -> bytes
    fetched: list[Fetched] = field(default_factory=list)
    fetched_bytes: int = 0
    oldest_fetched_s: float = 0.0
    placing: int = 0
    removals: list[str] = field(default_factory=list)
    again: list[tuple[float, Pull]] = field(default_factory=list)  # (not before, what)
    adopts: dict[str, Pull] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    twins: list[str] = field(default_factory=list)  # files whose `.~` twin was found: interrupted saves

    def is_done(self) -> bool:
        """Whether every planned path was dealt with."""
        return self.is_planned and not (self.in_flight or self.fetched or self.placing or self.again)

    def gives_up(self, path: str, error: SyncError) -> bool:
        """Whether this one object is left in the bucket so that the others can be used (archived, damaged)."""
        if path not in self.adopts or not isinstance(error, Denied | Corrupt):
            return False
        self.refusals[path] = self.refusals.get(path, 0) + 1
        return self.refusals[path] >= REFUSALS and self.files_done > 0

    def is_batch_due(self, now_s: float) -> bool:
        """Whether the fetched files should take their places now."""
        if not self.fetched:
            return False
        if len(self.fetched) >= BATCH_FILES or self.fetched_bytes >= BATCH_BYTES:
            return True
        return (self.is_planned and not self.in_flight) or now_s - self.oldest_fetched_s >= BATCH_S


def unsaved_by(predecessor: Predecessor, journal: Journal) -> tuple[str, ...]:
    """Which of the paths that the node before us had not saved really never arrived (server's clock on both sides)."""
    if predecessor.was_released and not predecessor.pending:
        return ()
    missing: list[str] = []
    for path in predecessor.pending:
        modified = journal.staged_modified(path)
        if modified is None or modified < predecessor.modified:
            missing.append(path)
    return tuple(missing)


def compare(
    journal: Journal, files: Files, scanner: Scanner, problems: dict[str, str], twins: list[str] | None = None
) -> Iterator[Pull]:
    """What each path of the staged listing needs, folder by folder. Interrupted saves are added to `twins`."""
    homes = journal.staged_homes()
    for folder in journal.staged_folders():
        remotes = journal.staged(folder)
        rows = journal.rows(folder)
        try:
            local = dict(files.scan(folder))
        except (FileNotFoundError, NotADirectoryError):
            local = {}
        except OSError as error:
            problems[folder or "."] = f"The folder cannot be read: {error.strerror}"
            continue
        if twins is not None:
            twins.extend(join(folder, name[2:]) for name in local if name.startswith(".~"))
        for name in sorted(remotes.keys() | rows.keys()):
            path = join(folder, name)
            remote = remotes.get(name)
            if name.endswith("/"):
                here = local.get(name[:-1])
                yield from _marker(path, here, rows.get(name), remote)
                continue
            here = local.get(name)
            if here is not None and here.kind is Kind.DIR:
                if remote is not None:
                    problems[path] = "A folder has this name here; the object stays in the bucket"
                    continue
                here = None
            op = plan.pull(here, rows.get(name), remote)
            if op in (Op.FETCH, Op.MERGE) and _has_below(homes, path):
                problems[path] = "The bucket has a folder of this name too; the object stays in the bucket"
            elif op is not Op.NONE:
                yield Pull(path, op, remote, here)


def _has_below(homes: Sequence[bytes], path: str) -> bool:
    """Whether one of the sorted folders is `path` or lies in it."""
    top = os.fsencode(path)
    at = bisect_left(homes, top)
    if at < len(homes) and homes[at] == top:
        return True
    at = bisect_left(homes, top + b"/", at)
    return at < len(homes) and homes[at].startswith(top + b"/")


def _marker(path: str, here: Entry | None, row: Row | None, remote: Remote | None) -> Iterator[Pull]:
    if remote is None:
        if row is not None and here is None:
            yield Pull(path, Op.FORGET, None, None)
        elif row is not None:
            yield Pull(path, Op.REMOVE, None, here)
        return
    if row is not None and row.version == remote.version:
        return
    yield Pull(path, Op.FETCH, remote, here)
