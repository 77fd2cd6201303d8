"""What a turn of the engine does, in order: lease, pull, scan, send, delete. No clock and no thread of its own."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from sync import doubts, pulling, pushing, scanning
from sync.errors import SyncError
from sync.trash import expire
from sync.work import Expired, Leased, Outcome

if TYPE_CHECKING:
    from sync.engine import Engine

log = logging.getLogger(__name__)

OVERDUE_S = 0.02
IDLE_S = 10.0  # the longest wait: status must not go stale


def step(engine: Engine, now_s: float) -> float:
    """Everything that can be done now; the seconds until something is due by itself."""
    if engine.lease.is_lost:
        scanning.scan(engine, now_s)
        pushing.park(engine, now_s)
        return _wait(engine, now_s)
    _lease(engine, now_s)
    if engine.lease.epoch == 0:
        return _wait(engine, now_s)
    if engine.repull_s is not None and now_s >= engine.repull_s and engine.restored:
        engine.repull_s = None
        engine.wants_pull = True
    if (not engine.restored or engine.wants_pull) and engine.restore is None and pulling.may_try(engine, now_s):
        pulling.begin_pull(engine)
    if engine.restore is not None:
        pulling.pull(engine, engine.restore, now_s)
    if engine.restored:
        scanning.scan(engine, now_s)
        if engine.restore is None and not engine.wants_pull:
            doubts.look(engine, now_s)
            _lease(engine, now_s)  # what the scan found may need it, and nothing else would wake us
            pushing.push(engine, now_s)
        _expire(engine, now_s)
    return _wait(engine, now_s)


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
    engine.submit("", lambda: Expired(expire(engine.store, keep_s)))


def _leased(act: object) -> Outcome:
    try:
        act()  # type: ignore[operator]
    except SyncError as error:
        return Leased(error)
    return Leased()


def _wait(engine: Engine, now_s: float) -> float:
    """Seconds until something is due by itself."""
    if engine.has_news():
        return 0.0
    times = [now_s + IDLE_S]
    if engine.walk is not None and (engine.restored or engine.lease.is_lost):
        if len(engine.agenda.pending) <= scanning.BACKLOG:
            return 0.0
        times.append(now_s + 0.2)
    if engine.dirty and (engine.restored or engine.lease.is_lost):
        times.append(
            max(scanning.dirty_due_s(engine), min(engine.dirty.values()))
        )  # a resting folder is not due earlier
    due = engine.agenda.next_due_s()
    if due is not None:
        times.append(due)
    looks = doubts.next_due_s(engine) if engine.restored else None
    if looks is not None:
        times.append(max(looks, now_s + 0.05))
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
        times.append(now_s if engine.wants_walk else max(engine.audit_due_s, now_s + 0.05))
    # What was due and was not done waits for something else (an answer wakes us): no reason to spin on it.
    wait_s = min(times) - engine.clock.monotonic()
    return wait_s if wait_s > 0 else OVERDUE_S
