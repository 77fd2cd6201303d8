"""What waits to be sent and what waits to be deleted, coalesced by path: the newest observation always wins."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from sync import settle
from sync.scan import Diff
from sync.tree import Entry, Kind, Row

DELETE_QUIET_S = 1.0  # a rename shows its other half within this; `git gc` and `rm -r` have paused
DELETE_PATIENCE_S = 10.0  # deletes that keep coming wait no longer than this for each other
CLOCK_TRUST_S = 86_400.0  # an mtime further away than this says nothing about how long a file has rested
RETRY_FIRST_S = 1.0
UNREST_MOST_S = 10.0
RETRY_MOST_S = 60.0


def home(path: str) -> str:
    """The folder whose scan decides about `path` (a marker `a/b/` is decided by the scan of `a/b`)."""
    return path[:-1] if path.endswith("/") else path.rpartition("/")[0]


@dataclass(slots=True)
class Pending:
    """A path whose content is not in the bucket yet. Times are monotonic seconds."""

    path: str
    entry: Entry
    first_s: float
    moving_s: float  # since when it has not been seen at rest: it may wait for other reasons for much longer
    still_since_s: float
    was_closed: bool
    has_twin: bool
    due_s: float = 0.0
    token: int = 0
    failures: int = 0
    refusals: int = 0  # of this very state: the file was in motion, or an editor is saving it


@dataclass(slots=True)
class Gone:
    """A path that the journal has and the folder has not."""

    path: str
    since_s: float
    moved_to: str = ""  # the content of `moved_version` lives on under this path: no trash needed
    moved_version: str = ""
    is_claimed: bool = False  # a copy from it is under way
    claimed_version: str = ""  # of what
    is_approved: bool = False  # the guard let it go
    is_released: bool = False  # a person did, or time

    @property
    def is_of_burst(self) -> bool:
        """Whether the guard counts it: what was renamed or released is no sign of a disaster."""
        return not (self.moved_to or self.is_released or self.path.endswith("/"))


class Agenda:
    """Pending and gone paths. Used by the control thread only."""

    def __init__(self, row_of: Callable[[str], Row | None]) -> None:
        self._row_of = row_of
        self.pending: dict[str, Pending] = {}
        self.gone: dict[str, Gone] = {}
        self._pending_in: dict[str, set[str]] = {}
        self._gone_in: dict[str, set[str]] = {}
        self._by_identity: dict[tuple[int, int, int], str] = {}
        self._heap: list[tuple[float, tuple[int, int], int, str]] = []
        self._ready: list[tuple[tuple[int, int], int, str]] = []
        self._token = 0
        self._closed: set[str] = set()
        self._whole: set[str] = set()
        self._sent: dict[str, float] = {}  # when each busy file last went up, for the cost bound
        self.last_gone_s = 0.0
        self.first_gone_s = 0.0

    def note_closed(self, path: str) -> None:
        """A writer closed `path`: its next observation needs no longer quiet period."""
        if len(self._closed) > 100_000:
            self._closed.clear()
            self._whole.clear()
        self._closed.add(path)

    def note_whole(self, path: str) -> None:
        """Its writer says that `path` is complete: its next observation needs no quiet period at all."""
        self.note_closed(path)
        self._whole.add(path)

    def update(self, diff: Diff, now_s: float, wall_s: float) -> None:
        """Take over what a scan of one directory found."""
        if diff.problem or diff.is_missing:
            return
        for path in self._pending_in.get(diff.folder, set()) - diff.changed.keys():
            self._drop_pending(path)
        for path, entry in diff.changed.items():
            self._observe(path, entry, path in diff.twins, now_s, wall_s)
        if self._whole:  # seen now; a later change of it is another writer's
            self._whole = {path for path in self._whole if home(path) != diff.folder}
        reported = set(diff.gone)
        for path in self._gone_in.get(diff.folder, set()) - reported:
            self.drop_gone(path)
        self.add_gone(diff.gone, now_s)

    def _observe(self, path: str, entry: Entry, has_twin: bool, now_s: float, wall_s: float) -> None:
        closed, whole = path in self._closed, path in self._whole
        self._closed.discard(path)
        old = self.pending.get(path)
        if old is not None and old.entry == entry and old.has_twin == has_twin:
            if whole:
                old.still_since_s = min(old.still_since_s, now_s - settle.QUIET_CLOSED_S)
            if whole or (closed and not old.was_closed):
                old.was_closed = True
                self._schedule(old)
            return
        rested = wall_s - entry.mtime_ns / 1e9
        since = now_s - rested if 0.0 <= rested < CLOCK_TRUST_S else now_s if rested < 0 else now_s - CLOCK_TRUST_S
        if old is not None:
            since = max(since, old.still_since_s)
            if old.entry != entry:
                since = max(since, now_s - 10.0)
        if whole:
            since = min(since, now_s - settle.QUIET_CLOSED_S)
        is_moving = old is not None and now_s < old.still_since_s + settle.AT_REST_S
        first_s, moving_s = (now_s, now_s) if old is None else (old.first_s, old.moving_s if is_moving else now_s)
        item = Pending(path, entry, first_s, moving_s, since, closed, has_twin)
        item.failures = old.failures if old else 0
        self.pending[path] = item
        self._pending_in.setdefault(home(path), set()).add(path)
        self._schedule(item)

    def _schedule(self, item: Pending, not_before_s: float = 0.0) -> None:
        if item.entry.kind is Kind.DIR:
            due = item.first_s + 1.0  # most new folders get content at once, and then need no marker
        else:
            due = settle.due_at(
                size=item.entry.size,
                first_s=item.moving_s,
                still_since_s=item.still_since_s,
                was_closed=item.was_closed,
                has_twin=item.has_twin,
                last_sent_s=self._sent.get(item.path),
            )
        item.due_s = max(due, not_before_s)
        self._token += 1
        item.token = self._token
        heapq.heappush(self._heap, (item.due_s, settle.rank(item.path, item.entry.size), item.token, item.path))

    def waiting_in(self, folder: str) -> tuple[list[str], list[str]]:
        """(files directly in `folder`, its folders with something below) that are not in the bucket yet."""
        inside = f"{folder}/" if folder else ""
        files = sorted(path for path in self._pending_in.get(folder, ()) if not path.endswith("/"))
        below = (at[len(inside) :] for at in self._pending_in if at.startswith(inside) and at != folder)
        return files, sorted({inside + name.partition("/")[0] for name in below})

    def hurry(self, now_s: float) -> None:
        """A flush: everything is due now, whatever it waited for (a twin excepted)."""
        for item in self.pending.values():
            if not item.has_twin and item.due_s > now_s:  # asked every turn: what is due is queued already
                item.due_s = now_s
                self._token += 1
                item.token = self._token
                rank = settle.rank(item.path, item.entry.size)
                heapq.heappush(self._heap, (item.due_s, rank, item.token, item.path))

    def retry(self, path: str, now_s: float, *, failed: bool) -> None:
        """`path` could not be sent: again soon (it was in motion), or later and later (it failed)."""
        item = self.pending.get(path)
        if item is None:
            return
        if failed:
            item.failures += 1
            delay = min(RETRY_FIRST_S * 2 ** (item.failures - 1), RETRY_MOST_S)
        else:
            item.still_since_s = now_s
            # What moves is seen anew by the next scan and tried soon; what only looks unfinished is not spun on.
            delay = min(settle.QUIET_CLOSED_S * 2**item.refusals, UNREST_MOST_S)
            item.refusals += 1
        self._schedule(item, now_s + delay)

    def postpone(self, path: str, now_s: float) -> None:
        """`path` was not read at all: soon, and what is known of how long it has rested stays true."""
        item = self.pending.get(path)
        if item is not None:
            self._schedule(item, now_s + settle.QUIET_CLOSED_S)

    def refill(self, now_s: float) -> None:
        """Move what became due among the ready, where the best goes first."""
        while self._heap and self._heap[0][0] <= now_s:
            _, rank, token, path = heapq.heappop(self._heap)
            item = self.pending.get(path)
            if item is not None and item.token == token:
                heapq.heappush(self._ready, (rank, token, path))

    def pop(self) -> Pending | None:
        """Take the best of the ready out of the queue (it stays pending until `done`)."""
        while self._ready:
            _, token, path = heapq.heappop(self._ready)
            item = self.pending.get(path)
            if item is not None and item.token == token:
                return item
        return None

    def put_back(self, item: Pending) -> None:
        """Not now: it stays among the ready."""
        if self.pending.get(item.path) is item:
            heapq.heappush(self._ready, (settle.rank(item.path, item.entry.size), item.token, item.path))

    def has_ready(self) -> bool:
        """Whether anything waits for nothing but a worker."""
        return bool(self._ready)

    def next_due_s(self) -> float | None:
        """When the next item will be due."""
        while self._heap:
            due, _, token, path = self._heap[0]
            item = self.pending.get(path)
            if item is not None and item.token == token:
                return due
            heapq.heappop(self._heap)
        return None

    def done(self, path: str, entry: Entry, now_s: float) -> None:
        """`entry` of `path` is in the bucket. A newer observation stays pending."""
        if entry.kind is Kind.FILE:
            if entry.size > 64 * 1024:
                self._sent[path] = now_s
            if len(self._sent) > 10_000:
                self._sent = {p: s for p, s in self._sent.items() if now_s - s < 60.0}
        item = self.pending.get(path)
        if item is not None and item.entry[:6] == entry[:6]:
            self._drop_pending(path)
        elif item is not None:
            item.first_s = item.moving_s = now_s
            item.failures = 0
            self._schedule(item)

    def drop(self, path: str) -> None:
        """Forget a pending path: it is not there any more, or cannot be saved."""
        self._drop_pending(path)

    def _drop_pending(self, path: str) -> None:
        if self.pending.pop(path, None) is not None:
            names = self._pending_in.get(home(path))
            if names is not None:
                names.discard(path)
                if not names:
                    del self._pending_in[home(path)]

    def add_gone(self, paths: list[str], now_s: float) -> None:
        """Journal rows without a file, from complete scans."""
        for path in paths:
            if path in self.gone:
                continue
            row = self._row_of(path)
            if row is None:
                continue
            if not self.gone:
                self.first_gone_s = now_s
            self.last_gone_s = now_s
            self.gone[path] = Gone(path, now_s)
            self._gone_in.setdefault(home(path), set()).add(path)
            self._drop_pending(path)
            if row.entry.kind is Kind.FILE and row.entry.size:
                self._by_identity[(row.entry.ino, row.entry.size, row.entry.mtime_ns)] = path

    def drop_gone(self, path: str) -> None:
        """It is back, or dealt with."""
        if self.gone.pop(path, None) is not None:
            names = self._gone_in.get(home(path))
            if names is not None:
                names.discard(path)
                if not names:
                    del self._gone_in[home(path)]
        if not self.gone:
            self._by_identity.clear()

    def delay_gone(self, path: str, now_s: float) -> None:
        """Its delete was refused for a reason that a person or time must remove."""
        if path in self.gone:
            self.gone[path].since_s = now_s + RETRY_MOST_S

    def drop_all_gone(self) -> None:
        """The folder proved nothing: no path counts as gone."""
        self.gone.clear()
        self._gone_in.clear()
        self._by_identity.clear()

    def origin(self, entry: Entry) -> Gone | None:
        """The gone path that `entry` most likely is, renamed."""
        path = self._by_identity.get((entry.ino, entry.size, entry.mtime_ns))
        return None if path is None else self.gone.get(path)

    def deletes_due_s(self) -> float | None:
        """When the deletes may go: after a quiet second, so that renames and bursts are seen whole."""
        if not self.gone:
            return None
        return min(self.last_gone_s + DELETE_QUIET_S, self.first_gone_s + DELETE_PATIENCE_S)

    def clear(self) -> None:
        """Forget everything; a full scan finds it again."""
        self.pending.clear()
        self._pending_in.clear()
        self._heap.clear()
        self._ready.clear()
        self.drop_all_gone()
