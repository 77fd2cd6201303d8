"""Handing out uploads and deletes: how many, in which order, and which must wait for others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sync import settle
from sync.agenda import Gone, Pending
from sync.plan import Held
from sync.push import delete, upload, upload_together
from sync.root import verify_root
from sync.tree import Kind
from sync.work import LIGHT_BYTES, Outcome, Several, Task, World, weighed

if TYPE_CHECKING:
    from sync.engine import Engine

MOST_LARGE = 4  # large files at once
BURST_S = 600.0  # deletes within ten minutes count as one burst for the guard
DEPTH = 2  # tasks a worker, so that none waits for the control thread


def push(engine: Engine, now_s: float) -> None:
    """Start what is due, as much as the window allows."""
    engine.agenda.refill(now_s)
    if engine.outage is not None and now_s < engine.outage.retry_s:
        return
    if engine.lease.is_due():
        return  # confirmed first: nothing is written on an old claim
    room = _room(engine)
    aside: list[Pending] = []
    large = sum(1 for verb in engine.busy.values() if verb == "large")
    most_large = max(1, min(MOST_LARGE, int(engine.window) // 4))  # the others stay free for notebooks
    while room > 0 and (item := engine.agenda.pop()) is not None:
        if item.path in engine.busy or _must_wait(engine, item) or (_is_large(item) and large >= most_large):
            aside.append(item)
            continue
        _send(engine, item)
        large += _is_large(item)
        room -= 1
    for item in aside:
        engine.agenda.put_back(item)
    if room > 0:
        _delete(engine, now_s, room)


def _room(engine: Engine) -> int:
    probing = engine.outage is not None
    return (1 if probing else int(engine.window) * DEPTH) - len(engine.busy)


def _must_wait(engine: Engine, item: Pending) -> bool:
    """Git: what refers goes up after what it refers to (and what it refers to must have been looked for)."""
    folder = settle.git_folder(item.path)
    if folder is None or settle.is_git_object(item.path):
        return False
    if engine.walk is not None:
        return True
    objects = folder + "/objects/"
    if any(p.startswith(objects) for p in engine.agenda.pending):
        return True
    return any(d == folder + "/objects" or d.startswith(objects) for d in engine.dirty)


def _send(engine: Engine, item: Pending) -> None:
    path = item.path
    row = engine.journal.row(path)
    task = Task(path, item.entry, row, note=engine.journal.uploads().get(path) if _is_large(item) else None)
    task.ours = engine.doubts.of(path)
    task.is_doubtful = bool(task.ours) or path in engine.doubts.deletes
    folder = settle.git_folder(path)
    # Only the state that came to rest goes up, lest a save that began since is caught halfway (after an outage, many
    # have waited for long); what never rests must.
    stale_s = settle.STALE_SMALL_S if item.entry.size <= settle.SMALL_BYTES else settle.STALE_LARGE_S
    now_s = engine.clock.monotonic()
    is_restless = now_s >= item.moving_s + stale_s and now_s < item.still_since_s + settle.AT_REST_S
    task.is_exact = (folder is not None and not settle.is_git_object(path)) or not is_restless
    if row is None and item.entry.kind is Kind.FILE:
        gone = engine.agenda.origin(item.entry)
        if gone is not None and (origin := engine.journal.row(gone.path)) is not None:
            task.origin = (gone.path, origin)
            gone.is_claimed, gone.claimed_version = True, origin.version
            engine.claims[path] = gone
    engine.run_job(path, "large" if _is_large(item) else "put", _job(task, engine.world))


def _job(task: Task, world: World) -> Callable[[], Outcome]:
    if world.store.facts.together and task.entry.size <= LIGHT_BYTES and task.origin is None:
        return Several(task, world, upload_together)
    return weighed(world, task.entry.size, partial(upload, task, world))


def _is_large(item: Pending) -> bool:
    return item.entry.size > settle.SMALL_BYTES


def _delete(engine: Engine, now_s: float, room: int) -> None:
    due_s = engine.agenda.deletes_due_s()
    if due_s is None:
        engine.held = None
        engine.is_released = False
        return
    if (now_s < due_s and not engine.is_hurried) or engine.walk is not None or engine.walks_done == 0:
        return
    waiting = [g for g in engine.agenda.gone.values() if g.path not in engine.busy and not g.is_claimed]
    if not waiting or not verify_root(engine):
        return
    if not _is_approved(engine, waiting, now_s):
        waiting = [g for g in waiting if g.moved_to or g.is_approved]
    for gone in waiting[:room]:
        row = engine.journal.row(gone.path)
        if row is None:
            engine.agenda.drop_gone(gone.path)
        elif gone.path in engine.doubts.open:
            continue  # the row may not name what the bucket holds
        elif not _blocks_delete(engine, gone.path) and now_s >= gone.since_s:
            # The object may be another one by now: a save of the old name that came late.
            keeps_trash = not (gone.moved_to and gone.moved_version == row.version)
            job = partial(delete, gone.path, row, engine.world, keeps_trash=keeps_trash)
            engine.run_job(gone.path, "delete", job)


def _blocks_delete(engine: Engine, path: str) -> bool:
    """A repository shrinks only when all that it gained is saved (`git gc` packs first, then removes)."""
    folder = settle.git_folder(path)
    if folder is None:
        return False
    return any(p.startswith(folder + "/") for p in engine.agenda.pending)


def _is_approved(engine: Engine, waiting: list[Gone], now_s: float) -> bool:
    while engine.lately_deleted and now_s - engine.lately_deleted[0] > BURST_S:
        engine.lately_deleted.popleft()
    asking = [g for g in waiting if g.is_of_burst and not g.is_approved]
    approved = [g for g in engine.agenda.gone.values() if g.is_approved]
    lately = len(engine.lately_deleted) + sum(1 for g in approved if g.is_of_burst)
    why = engine.limits.guard.why_held(len(asking), lately, engine.journal.counts()[0] - len(approved))
    if not why or engine.is_released:
        for gone in waiting:
            gone.is_released = gone.is_released or bool(why)
            gone.is_approved = True
        engine.held = None
        return True
    since_s = engine.held.since_s if engine.held else now_s
    engine.held = Held(why, since_s, len(asking))
    if now_s - since_s >= engine.limits.guard_release_s:
        engine.is_released = True
        return _is_approved(engine, waiting, now_s)
    return False


def park(engine: Engine, now_s: float) -> None:
    """A newer node owns the prefix: what is unsaved here goes where it can be found."""
    engine.agenda.refill(now_s)
    if engine.outage is not None and now_s < engine.outage.retry_s:
        return
    engine.agenda.drop_all_gone()
    room = _room(engine)
    aside: list[Pending] = []
    while room > 0 and (item := engine.agenda.pop()) is not None:
        if engine.parked.get(item.path) == item.entry:
            engine.agenda.drop(item.path)
        elif item.path in engine.busy:
            aside.append(item)
        else:
            engine.run_job(item.path, "park", partial(upload, Task(item.path, item.entry, None), engine.parking))
            room -= 1
    for item in aside:
        engine.agenda.put_back(item)
