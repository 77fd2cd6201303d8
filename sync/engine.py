"""The control loop: one thread decides, workers move bytes, and every answer comes back through one queue.

Everything it touches is an argument (clock, folder, store, workers), so a simulation drives the very same code.
`turn()` does what can be done now and says how long nothing will happen by itself.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sync import conduct, doubts, pulling
from sync.agenda import Agenda, Gone, home
from sync.clock import Clock
from sync.doubts import Doubts
from sync.errors import LeaseLost, SyncError, Throttled
from sync.files import Files
from sync.intents import Intents
from sync.lease import TERM_S, Lease, Predecessor, Unconfirmed
from sync.limits import Limits
from sync.outage import Outage, worse
from sync.plan import Held
from sync.restoring import Restore
from sync.scan import Scanner
from sync.state import Journal
from sync.status import Progress
from sync.stores import Store
from sync.tree import Entry
from sync.work import (
    Copy,
    Deleted,
    Expired,
    Failed,
    Fetched,
    Foreign,
    Later,
    Leased,
    Listed,
    Noted,
    Outcome,
    Placed,
    Saved,
    Settled,
    Unsaveable,
    Vanished,
    World,
)

log = logging.getLogger(__name__)

REPULL_AFTER_S = 65.0  # past the term of the node before us: servers give a stalled request up after a minute
RELIST_AFTER_S = 15.0  # a listing that failed after the restore, or a conflict copy that did not arrive
LOG_EVERY_S = 60.0  # the same trouble is told once a minute
EXPIRE_FIRST_S = 600.0  # a start has better things to do than to look through the trash
EXPIRE_EVERY_S = 86_400.0


@dataclass(slots=True)
class Engine:
    """See the module. `submit` runs a path's job elsewhere and posts its outcome."""

    files: Files
    store: Store
    journal: Journal
    clock: Clock
    lease: Lease
    world: World
    parking: World  # writes under `.preflight/stranded/<machine>/` instead
    submit: Callable[[str, Callable[[], Outcome]], None]
    intents: Intents = field(default_factory=Intents)
    limits: Limits = field(default_factory=Limits)
    boot: str = ""  # which start of the kernel this is; "" where that does not matter
    new_id: Callable[[], str] = lambda: ""
    wake: Callable[[], None] = lambda: None

    scanner: Scanner = field(init=False)
    agenda: Agenda = field(init=False)
    doubts: Doubts = field(init=False)
    restore: Restore | None = None
    restored: bool = False
    busy: dict[str, str] = field(default_factory=dict)  # path -> verb
    claims: dict[str, Gone] = field(default_factory=dict)  # renamed path -> where its content is copied from
    problems: dict[str, str] = field(default_factory=dict)
    outage: Outage | None = None
    held: Held | None = None
    is_released: bool = False  # a person let the held deletes go
    window: float = 16.0
    predecessor: Predecessor | None = None
    left_by_previous: tuple[str, ...] = ()
    last_durable_at: float | None = None
    is_stopping: bool = False
    wants_pull: bool = False
    last_progress: Progress = field(default_factory=Progress)
    is_hurried: bool = False  # a flush waits for nothing
    parked: dict[str, Entry] = field(default_factory=dict)
    dirty: dict[str, float] = field(default_factory=dict)  # folder -> not before
    resting: dict[str, float] = field(default_factory=dict)  # big folder -> not scanned again before
    dirty_first_s: float | None = None
    dirty_last_s: float = 0.0
    walk: list[str] | None = None
    wants_walk: bool = False  # events were lost: what a walk under way has passed must be walked again
    walk_number: int = 0
    walk_started_s: float = 0.0
    walk_cost_s: float = 0.0
    walks_done: int = 0
    audit_due_s: float = 0.0
    lately_deleted: deque[float] = field(default_factory=deque)
    repull_s: float | None = None  # once more then: the node before us may have written until its term ended
    expire_due_s: float = 0.0
    log_again_s: float = 0.0
    leasing: bool = False
    lease_retry_s: float = 0.0
    recorded: frozenset[str] = frozenset()  # what the lease object says is pending
    inbox: deque[Outcome] = field(default_factory=deque)
    _alarms: deque[tuple[str, str]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.scanner = Scanner(self.files, self.journal)
        self.agenda = Agenda(self.journal.row)
        self.doubts = Doubts(self.journal, self.intents, self.clock.monotonic())
        self.window = float(self.limits.workers)
        self.expire_due_s = self.clock.monotonic() + EXPIRE_FIRST_S

    # From any thread.
    def mark(self, folder: str, closed: str = "") -> None:
        """An alarm bell: something happened in `folder`; `closed` is a file whose writer just closed it."""
        self._alarms.append((folder, closed))
        self.wake()

    def post(self, outcome: Outcome) -> None:
        """A worker's answer."""
        self.inbox.append(outcome)
        self.wake()

    # From the control thread.
    def has_news(self) -> bool:
        """Whether an answer or an alarm came since the last turn began."""
        return bool(self.inbox or self._alarms)

    def turn(self) -> float:
        """Do what can be done now; return the seconds until something is due by itself."""
        now_s = self.clock.monotonic()
        while self.inbox:
            self._apply(self.inbox.popleft(), now_s)
        self._hear(now_s)
        wait_s = conduct.step(self, now_s)
        self.journal.commit()
        self.intents.committed()
        return wait_s

    def _hear(self, now_s: float) -> None:
        while self._alarms:
            folder, closed = self._alarms.popleft()
            if closed:
                self.agenda.note_closed(closed)
            self.mark_now(folder, now_s)

    def mark_now(self, folder: str, now_s: float) -> None:
        """The folder is to be scanned after the debounce."""
        self.dirty.setdefault(folder, 0.0)
        if self.dirty_first_s is None:
            self.dirty_first_s = now_s
        self.dirty_last_s = now_s

    def rescan(self) -> None:
        """Begin a walk over the whole tree (again)."""
        self.wants_walk = False
        self.walk = [""]
        self.walk_number = self.scanner.begin_walk()
        self.walk_started_s = self.clock.monotonic()
        self.walk_cost_s = 0.0

    def run_job(self, path: str, verb: str, job: Callable[[], Outcome]) -> None:
        """Hand a job for `path` to the workers."""
        self.busy[path] = verb
        self.submit(path, job)

    def is_idle(self) -> bool:
        """Whether everything in the folder is committed in the bucket, as far as any scan knows."""
        return (
            self.restored
            and self.walks_done > 0
            and self.walk is None
            and not self.wants_walk
            and not (self.agenda.pending or self.agenda.gone or self.busy or self.dirty or self._alarms or self.inbox)
            and self.restore is None
            and not doubts.may_be_gone(self)
        )

    def _apply(self, outcome: Outcome, now_s: float) -> None:
        match outcome:
            case Saved():
                self._saved(outcome, now_s)
            case Later(path=path):
                self._end(path)
                self.agenda.retry(path, now_s, failed=False)
                self.again_in_restore(path, now_s)
                self.mark_now(path.rpartition("/")[0], now_s)
                if path in self.agenda.gone:
                    self.agenda.drop_gone(path)
                    self.scanner.forget(path.rpartition("/")[0])
            case Vanished(path=path):
                self._end(path)
                self.settle_restore(path)
                self.agenda.drop(path)
                self.scanner.forget(path.rpartition("/")[0])
                self.mark_now(path.rpartition("/")[0], now_s)
            case Unsaveable(path=path, why=why):
                self._end(path)
                self.settle_restore(path)
                self.problems[path] = why
                self.agenda.retry(path, now_s, failed=True)
                self.agenda.delay_gone(path, now_s)
            case Failed(path=path, error=error):
                if self.busy.get(path) == "delete":
                    self.doubts.add_delete(path, now_s)
                self._end(path)
                if outcome.sent and not self.lease.is_lost:
                    self.doubts.add(outcome.sent, now_s)
                self._failed(path, error, now_s)
            case Settled(path=path):
                self._end(path)
                self._worked()
                if doubts.settled(self, outcome, now_s):
                    self._meet_foreign(path)
            case Deleted(path=path):
                if outcome.was_slow:
                    self.doubts.add_delete(path, now_s)
                self._end(path)
                self._worked()
                self.journal.drop(path)
                self.journal.drop_conflict(path)
                gone = self.agenda.gone.get(path)
                self.agenda.drop_gone(path)
                self.problems.pop(path, None)
                if gone is None:  # it came back while the delete was on its way, just as the journal had it
                    self.look_again(path, now_s)
                if gone is None or gone.is_of_burst:
                    self.lately_deleted.append(now_s)
            case Foreign(path=path):
                self._end(path)
                self._meet_foreign(path)
            case Fetched():
                self._end(outcome.path)
                self._worked()
                pulling.fetched(self, outcome, now_s)
            case Placed():
                self._placed(outcome, now_s)
            case Listed():
                pulling.listed(self, outcome, now_s)
            case Leased(error=error):
                self._leased(error, now_s)
            case Expired():
                self.expire_due_s = now_s + EXPIRE_EVERY_S
            case Noted(path=path, note=note):
                self.journal.note_upload(path, note)

    def _meet_foreign(self, path: str) -> None:
        """Somebody else's object lies where a deleted file was: it comes into the folder, but never from a mirror."""
        self.journal.drop(path)
        self.agenda.drop_gone(path)
        if self.limits.is_mirror:
            self.problems[path] = "Somebody else wrote this object in the mirror; it stays there"
        else:
            pulling.fetch_one(self, path)

    def _end(self, path: str) -> None:
        self.busy.pop(path, None)
        self.intents.end(path)
        if (gone := self.claims.pop(path, None)) is not None:
            gone.is_claimed = False

    def _saved(self, outcome: Saved, now_s: float) -> None:
        origin = self.claims.get(outcome.path)
        if origin is not None and outcome.moved_from == origin.path:
            origin.moved_to, origin.moved_version = outcome.path, origin.claimed_version
        self._end(outcome.path)
        self._worked()
        self.problems.pop(outcome.path, None)
        if self.lease.is_lost:
            self.parked[outcome.path] = outcome.row.entry
            self.agenda.done(outcome.path, outcome.row.entry, now_s)
            return
        self.journal.record(outcome.path, outcome.row)
        self.doubts.drop(outcome.path)
        self._copied(outcome.copies)
        if outcome.is_racy:
            self.mark_now(outcome.path.rpartition("/")[0], now_s)
        self.settle_restore(outcome.path)
        if self.restored and outcome.path not in self.agenda.pending:
            # A scan found it gone or as it was while it was on its way: only another comparison tells which.
            self.look_again(outcome.path, now_s)
        self.agenda.done(outcome.path, outcome.row.entry, now_s)
        if outcome.was_sent:
            self.last_durable_at = self.clock.now()

    def look_again(self, path: str, now_s: float) -> None:
        """The next scan compares the path with the journal, whatever an earlier one found."""
        self.scanner.forget(home(path))
        self.scanner.forget(path.rstrip("/").rpartition("/")[0])
        self.mark_now(home(path), now_s)  # an empty folder decides about its marker, if it is there: else its parent

    def _copied(self, copies: tuple[Copy, ...]) -> None:
        for copy in copies:
            self.journal.add_conflict(copy.path, copy.copy, copy.at)
            # A scan may have found the new file meanwhile: what its own upload made of the object is newer than this.
            if copy.row is not None and copy.copy not in self.busy and self.journal.row(copy.copy) is None:
                self.journal.record(copy.copy, copy.row)
                self.doubts.drop(copy.copy)
            if copy.is_missing:  # kept in the bucket, but it did not arrive here
                self.repull_s = self.repull_s or self.clock.monotonic() + RELIST_AFTER_S
            self.mark_now(copy.copy.rpartition("/")[0], self.clock.monotonic())
            log.warning("Two contents met; both are kept", extra={"path": copy.path, "copy": copy.copy})

    def _placed(self, outcome: Placed, now_s: float) -> None:
        self._copied(outcome.copies)
        for path, row in outcome.rows:
            self.journal.record(path, row)
            self.doubts.drop(path)
            self.problems.pop(path, None)
            self.settle_restore(path, row.size)
        for path, why in outcome.unusable:
            self.problems[path] = why
            self.settle_restore(path)
        for path in outcome.later:
            self.again_in_restore(path, now_s)
        pulling.placed(self, outcome)
        if outcome.error is not None:
            self._failed("", outcome.error, now_s)

    def settle_restore(self, path: str, size: int = 0) -> None:
        if self.restore is not None and self.restore.adopts.pop(path, None) is not None:
            self.restore.in_flight.pop(path, None)
            self.restore.files_done += 1
            self.restore.bytes_done += size

    def again_in_restore(self, path: str, now_s: float) -> None:
        if self.restore is not None and (pull := self.restore.adopts.pop(path, None)) is not None:
            self.restore.in_flight.pop(path, None)
            self.restore.again.append((now_s + 1.0, pull))

    def _worked(self) -> None:
        self.outage = None
        self.window = min(float(self.limits.workers), self.window + 1.0 / max(self.window, 1.0))

    def _failed(self, path: str, error: SyncError, now_s: float) -> None:
        if isinstance(error, LeaseLost):
            self.agenda.postpone(path, now_s)  # to be parked
            return
        if isinstance(error, Unconfirmed):
            self.agenda.postpone(path, now_s)
            self.again_in_restore(path, now_s)
            return
        self.agenda.retry(path, now_s, failed=True)
        if path in self.agenda.gone:
            self.agenda.gone[path].since_s = now_s
            self.agenda.last_gone_s = self.agenda.first_gone_s = now_s
        if self.restore is not None and self.restore.gives_up(path, error):
            self.problems[path] = f"It stays in the bucket: {error.what}"
            self.settle_restore(path)
        else:
            self.again_in_restore(path, now_s)
        if isinstance(error, Throttled):
            self.window = max(1.0, self.window / 2)
        self.outage = worse(self.outage, error, now_s, is_general=not path)
        if self.restore is not None and not self.restore.is_listed and not path:
            self.restore = None
            if self.restored:  # what was to be looked at again still is; saving goes on meanwhile
                self.repull_s = self.repull_s or now_s + RELIST_AFTER_S
        if now_s >= self.log_again_s:
            self.log_again_s = now_s + LOG_EVERY_S
            log.warning("A transfer failed and is tried again", extra={"path": path, "error": str(error)})

    def is_offline(self) -> bool:
        """Whether the failures in a row amount to an outage that people should see."""
        outage = self.outage  # read once: a mirror is asked by another thread
        return outage is not None and (outage.is_felt() or not self.restored)

    def _leased(self, error: SyncError | None, now_s: float) -> None:
        self.leasing = False
        if error is None:
            self._worked()
            if self.predecessor is None and self.lease.predecessor is not None:
                self.predecessor = self.lease.predecessor
                if not self.predecessor.was_released:
                    self.repull_s = now_s + TERM_S + REPULL_AFTER_S
            if self.lease.may_have_slipped:
                self.lease.may_have_slipped = False
                self.repull_s = now_s + TERM_S + REPULL_AFTER_S
        elif not isinstance(error, LeaseLost):
            self._failed("", error, now_s)
            self.lease_retry_s = self.outage.retry_s if self.outage else now_s + 1.0
        else:
            log.error("A newer node took the folder over; this one stops writing", extra={"why": str(error)})
