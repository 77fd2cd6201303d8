"""What a turn of the engine does, in order: lease, pull, scan, send, delete. No clock and no thread of its own."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from sync import pushing
from sync.errors import NotFound, SyncError
from sync.fetch import fetch, place
from sync.names import OURS, stamp
from sync.plan import Op
from sync.restoring import Pull, Restore, compare, list_all, unsaved_by
from sync.status import Progress
from sync.trash import expire
from sync.tree import Kind, Remote
from sync.twins import mend
from sync.work import Expired, Failed, Fetched, Leased, Listed, Outcome, Placed, Unsaveable, Vanished

if TYPE_CHECKING:
    from sync.engine import Engine

log = logging.getLogger(__name__)

BIG_FOLDER_S = 0.02  # to scan: some 5,000 files
OVERDUE_S = 0.02
IDLE_S = 10.0  # the longest wait: status must not go stale


def step(engine: Engine, now_s: float) -> float:
    """Everything that can be done now; the seconds until something is due by itself."""
    if engine.lease.is_lost:
        scan(engine, now_s)
        pushing.park(engine, now_s)
        return _wait(engine, now_s)
    _lease(engine, now_s)
    if engine.lease.epoch == 0:
        return _wait(engine, now_s)
    if engine.repull_s is not None and now_s >= engine.repull_s and engine.restored:
        engine.repull_s = None
        engine.wants_pull = True
    if (not engine.restored or engine.wants_pull) and engine.restore is None and _may_try(engine, now_s):
        begin_pull(engine)
    if engine.restore is not None:
        _pull(engine, engine.restore, now_s)
    if engine.restored:
        scan(engine, now_s)
        if engine.restore is None and not engine.wants_pull:
            pushing.push(engine, now_s)
        _expire(engine, now_s)
    return _wait(engine, now_s)


def _may_try(engine: Engine, now_s: float) -> bool:
    return engine.outage is None or now_s >= engine.outage.retry_s


def _lease(engine: Engine, now_s: float) -> None:
    """Take the lease at start; confirm it by time while there is something to write or to record."""
    if engine.leasing or now_s < engine.lease_retry_s or not engine.lease.is_due():
        return
    lease = engine.lease
    if lease.epoch == 0:
        job = partial(_leased, lease.take)
    else:
        pending = [p for p in engine.agenda.pending if not p.endswith("/")]
        pending_work = engine.agenda.pending or engine.agenda.gone or engine.busy or engine.restore
        writes = bool(pending_work) or now_s >= engine.expire_due_s
        if not writes and not engine.recorded:
            return  # idle and recorded as clean: no request
        pending.sort(key=lambda p: engine.agenda.pending[p].first_s)
        named = pending[:1000]
        engine.recorded = frozenset(named)
        job = partial(_leased, partial(lease.renew, named, len(pending)))
    engine.leasing = True
    engine.submit("", job)


def _expire(engine: Engine, now_s: float) -> None:
    """Once a day old trash goes."""
    if now_s < engine.expire_due_s or engine.lease.is_due():
        return
    engine.expire_due_s = now_s + 86_400.0
    keep_s = engine.limits.trash_keep_s
    engine.submit("", lambda: Expired(expire(engine.store, engine.clock, keep_s)))


def _leased(act: object) -> Outcome:
    try:
        act()  # type: ignore[operator]
    except SyncError as error:
        return Leased(error)
    return Leased()


def verify_root(engine: Engine) -> bool:
    """Whether the folder is the one that the journal speaks of. If not, the journal proves nothing: restore."""
    try:
        marker = engine.files.read_marker()
    except OSError:
        return False
    is_same_boot = not engine.boot or engine.journal.fact("boot") in (None, engine.boot)
    if marker is not None and marker == engine.journal.fact("folder") and is_same_boot:
        if engine.boot and engine.journal.fact("boot") is None:
            engine.journal.set_fact("boot", engine.boot)
        return True
    if engine.restored:
        log.error("The folder is not the one that was synced; it is restored and nothing is deleted")
    engine.journal.forget()
    engine.agenda.clear()
    engine.scanner.forget()
    engine.walk = None
    engine.walks_done = 0
    engine.held = None
    engine.restored = False
    engine.restore = None
    marker = marker or engine.new_id()
    try:
        engine.files.write_marker(marker)
    except OSError as error:
        failed = SyncError(f"The data folder cannot be written: {error.strerror}", hint="check PREFLIGHT_DATA_DIR")
        engine.post(Failed("", failed))
        return False
    engine.journal.set_fact("folder", marker)
    engine.journal.set_fact("boot", engine.boot)
    return True


def begin_pull(engine: Engine) -> None:
    """List the bucket and bring the folder up to it. Transfers under way end first."""
    if any(verb != "fetch" for verb in engine.busy.values()):
        return
    if not verify_root(engine):
        return
    engine.wants_pull = False
    if engine.limits.is_mirror:
        engine.restored = True
        engine.rescan()
        return
    engine.restore = Restore()
    engine.scanner.read_ignore()
    engine.journal.begin_listing()
    engine.submit("", partial(list_all, engine.store, engine.post))


def listed(engine: Engine, outcome: Listed, now_s: float) -> None:
    """A piece of the listing arrived."""
    restore = engine.restore
    if restore is None or restore.is_listed:
        return
    engine.journal.stage(outcome.objects)
    for key, why in outcome.unusable:
        engine.problems[key] = why
    if not outcome.is_last:
        return
    restore.is_listed = True
    engine.outage = None
    if engine.predecessor is not None and not engine.restored:
        engine.left_by_previous = unsaved_by(engine.predecessor, engine.journal)
    restore.files_total, restore.bytes_total = engine.journal.staged_counts()
    restore.plan = compare(engine.journal, engine.files, engine.scanner, engine.problems, restore.twins)


def _pull(engine: Engine, restore: Restore, now_s: float) -> None:
    if restore.plan is None:
        return
    due = [pull for at, pull in restore.again if at <= now_s]
    restore.again = [(at, pull) for at, pull in restore.again if at > now_s]
    for pull in due:
        _refetch(engine, restore, pull)
    may_try = _may_try(engine, now_s)
    while may_try and not restore.is_planned and len(restore.in_flight) < int(engine.window) * 4:
        pull_or_end = next(restore.plan, None)
        if pull_or_end is None:
            restore.is_planned = True
            break
        _start(engine, restore, pull_or_end)
    if restore.is_batch_due(now_s) and not restore.placing:
        batch, restore.fetched, restore.fetched_bytes = restore.fetched, [], 0
        restore.placing = len(batch)
        engine.submit("", partial(place, batch, engine.world))
    if restore.is_done():
        _finish(engine, restore, now_s)


def _start(engine: Engine, restore: Restore, pull: Pull) -> None:
    if pull.op is Op.FORGET:
        engine.journal.drop(pull.path)
    elif pull.op is Op.REMOVE:
        restore.removals.append(pull.path)
    elif pull.remote is not None and pull.path not in engine.busy:
        restore.in_flight[pull.path] = pull.remote.size
        restore.adopts[pull.path] = pull
        merges = pull.op is Op.MERGE
        job = partial(fetch, pull.path, pull.remote, pull.local, engine.world, merges=merges)
        engine.run_job(pull.path, "fetch", job)


def _refetch(engine: Engine, restore: Restore, pull: Pull) -> None:
    """Something moved, here or there: look at both sides of this path again."""
    restore.in_flight[pull.path] = pull.remote.size if pull.remote else 0
    restore.adopts[pull.path] = pull
    engine.run_job(pull.path, "fetch", partial(_fetch_current, engine, pull.path))


def _fetch_current(engine: Engine, path: str) -> Outcome:
    """Fetch whatever version the bucket has now; a local file that differs is kept beside it."""
    from sync.names import key_of

    try:
        info = engine.world.store.head(key_of(path))
        here = engine.files.entry(path.rstrip("/"))
    except NotFound:
        return Vanished(path)
    except SyncError as error:
        return Failed(path, error)
    except OSError:
        here = None
    if here is not None and here.kind is Kind.DIR and not path.endswith("/"):
        return Unsaveable(path, "A folder has this name here; the object stays in the bucket")
    remote = Remote(info.size, info.version, info.modified, info.md5)
    return fetch(path, remote, here, engine.world, merges=here is not None and not path.endswith("/"))


def fetch_one(engine: Engine, path: str) -> None:
    """Bring one path's present version into the folder, outside of a pull."""
    engine.run_job(path, "fetch", partial(_fetch_current, engine, path))


def fetched(engine: Engine, outcome: Fetched, now_s: float) -> None:
    """A private file is complete: it is placed with its batch, or at once outside of a pull."""
    restore = engine.restore
    if restore is None or outcome.path not in restore.adopts:
        engine.run_job(outcome.path, "place", partial(place, [outcome], engine.world))
        return
    restore.in_flight.pop(outcome.path, None)
    if not restore.fetched:
        restore.oldest_fetched_s = now_s
    restore.fetched.append(outcome)
    restore.fetched_bytes += outcome.remote.size


def placed(engine: Engine, outcome: Placed) -> None:
    """A batch took its places (or could not)."""
    for path in [p for p, _ in outcome.rows] + [p for p, _ in outcome.unusable] + list(outcome.later):
        if engine.busy.get(path) == "place":
            del engine.busy[path]
    restore = engine.restore
    if restore is None:
        return
    restore.placing = 0
    if outcome.error is not None:  # what was not placed is fetched again
        for path in list(restore.adopts):
            if path not in restore.in_flight and not any(f.path == path for f in restore.fetched):
                restore.again.append((engine.clock.monotonic() + 1.0, restore.adopts.pop(path)))


def _finish(engine: Engine, restore: Restore, now_s: float) -> None:
    """The folder is up to the bucket."""
    removed = [p for p in restore.removals if engine.journal.row(p) is not None]
    total = engine.journal.counts()[0]
    why = engine.limits.guard.why_held(len([p for p in removed if not p.endswith("/")]), 0, total)
    if why and not engine.is_released:
        log.error("Many objects are gone from the bucket; the local files stay", extra={"files": len(removed)})
        engine.problems["."] = (
            f"{len(removed)} objects are gone from the bucket; the local files are kept and saved again"
        )
        for path in removed:
            engine.journal.drop(path)
    else:
        for path in removed:
            _remove_here(engine, path, now_s)
    for path in restore.twins:
        mend(path, engine.world)
    engine.last_progress = Progress(restore.files_done, restore.files_total, restore.bytes_done, restore.bytes_total)
    engine.restore = None
    first = not engine.restored
    engine.restored = True
    if first:
        log.info("The folder is restored", extra={"files": restore.files_done, "bytes": restore.bytes_done})
    engine.rescan()


def _remove_here(engine: Engine, path: str, now_s: float) -> None:
    """Somebody deleted it in the bucket: the local file moves to the folder's own trash."""
    try:
        if path.endswith("/"):
            engine.files.remove_folder(path[:-1])
        else:
            engine.files.move(path, f"{OURS}/removed/{stamp(engine.clock.now())}/{path}")
    except (OSError, SyncError):
        return
    engine.journal.drop(path)
    engine.mark_now(path.rstrip("/").rpartition("/")[0], now_s)


def scan(engine: Engine, now_s: float) -> None:
    """Scan the dirty folders that have come to rest, and a slice of the walk under way."""
    from sync.engine import AUDIT_COST, AUDIT_LEAST_S, BACKLOG, SLICE_S

    if engine.walk is None and (engine.walks_done == 0 or now_s >= engine.audit_due_s):
        engine.rescan()
    if engine.dirty and now_s >= _dirty_due_s(engine):
        later: dict[str, float] = {}
        folders = engine.dirty
        engine.dirty = {}
        engine.dirty_first_s = None
        for folder in folders:
            not_before = engine.resting.get(folder, 0.0)
            if not_before > now_s:
                later[folder] = not_before
                continue
            engine.resting.pop(folder, None)
            _scan_folder(engine, folder)
        for folder, at in later.items():
            engine.dirty.setdefault(folder, at)
            if engine.dirty_first_s is None:
                engine.dirty_first_s = now_s
    walk = engine.walk
    if walk is None or len(engine.agenda.pending) > BACKLOG:
        return
    end_s = engine.clock.monotonic() + SLICE_S
    started_s = engine.clock.monotonic()
    while walk and engine.clock.monotonic() < end_s and len(engine.agenda.pending) <= BACKLOG:
        folder = walk.pop()
        diff = engine.scanner.scan(folder)
        if diff.is_missing and not folder:
            verify_root(engine)
            return
        _take(engine, diff)
        walk.extend(f"{folder}/{name}" if folder else name for name in diff.subfolders)
    engine.walk_cost_s += engine.clock.monotonic() - started_s
    if not walk:
        engine.agenda.add_gone(list(engine.scanner.unseen(engine.walk_number)), engine.clock.monotonic())
        engine.walk = None
        engine.walks_done += 1
        engine.audit_due_s = engine.clock.monotonic() + max(AUDIT_LEAST_S, AUDIT_COST * engine.walk_cost_s)


def _dirty_due_s(engine: Engine) -> float:
    from sync.engine import DEBOUNCE_MOST_S, DEBOUNCE_S

    first = engine.dirty_first_s if engine.dirty_first_s is not None else 0.0
    return min(engine.dirty_last_s + DEBOUNCE_S, first + DEBOUNCE_MOST_S)


def _scan_folder(engine: Engine, folder: str) -> None:
    """Scan one folder; folders that are new in it are scanned whole."""
    stack = [folder]
    while stack:
        here = stack.pop()
        started_s = engine.clock.monotonic()
        diff = engine.scanner.scan(here)
        if diff.is_missing:
            if not here:
                verify_root(engine)
            elif here == folder:
                stack.append(here.rpartition("/")[0])  # its parent tells whether it is gone
                folder = here.rpartition("/")[0]
            continue
        _take(engine, diff)
        cost_s = engine.clock.monotonic() - started_s
        if cost_s > BIG_FOLDER_S:  # a folder of thousands of files is not scanned more than a fifth of the time
            engine.resting[here] = engine.clock.monotonic() + 4 * cost_s
        stack.extend(f"{here}/{name}" if here else name for name in diff.new_subfolders)


def _take(engine: Engine, diff: object) -> None:
    from sync.scan import Diff

    assert isinstance(diff, Diff)
    now_s = engine.clock.monotonic()
    engine.agenda.update(diff, now_s, engine.clock.now())
    if not diff.folder and ".preflightignore" in diff.changed and engine.scanner.read_ignore():
        engine.rescan()


def _wait(engine: Engine, now_s: float) -> float:
    """Seconds until something is due by itself."""
    if engine.inbox:
        return 0.0
    times = [now_s + IDLE_S]
    if engine.walk is not None and (engine.restored or engine.lease.is_lost):
        from sync.engine import BACKLOG

        if len(engine.agenda.pending) <= BACKLOG:
            return 0.0
        times.append(now_s + 0.2)
    if engine.dirty and (engine.restored or engine.lease.is_lost):
        times.append(max(_dirty_due_s(engine), min(engine.dirty.values())))  # a resting folder is not due earlier
    due = engine.agenda.next_due_s()
    if due is not None:
        times.append(due)
    deletes = engine.agenda.deletes_due_s()
    if deletes is not None and engine.held is None:
        times.append(max(deletes, now_s + 0.02))
    if engine.outage is not None and engine.outage.retry_s > now_s:  # past it, only work that is due wakes us
        times.append(engine.outage.retry_s)
    if engine.lease.epoch == 0 and not engine.leasing:
        times.append(engine.lease_retry_s)
    restore = engine.restore
    if restore is not None:
        times.extend(at for at, _ in restore.again)
        if restore.fetched and not restore.placing:
            times.append(now_s + 0.05)
    if engine.repull_s is not None and engine.restored and not engine.lease.is_lost:
        times.append(engine.repull_s)
    if engine.restored:
        times.append(max(engine.audit_due_s, now_s + 0.05))
    # What was due and was not done waits for something else (an answer wakes us): no reason to spin on it.
    wait_s = min(times) - engine.clock.monotonic()
    return wait_s if wait_s > 0 else OVERDUE_S
