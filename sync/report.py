"""The engine's state as the document that the world reads."""

from __future__ import annotations

import itertools
import os

from sync.engine import Engine
from sync.errors import Denied, DiskFull, Misconfigured
from sync.status import Progress, State, Status
from sync.stores.prices import estimate
from sync.stores.retry import Retrying

SILENT_S = 15.0  # of failures alone while something waits: to give up a single request that hangs takes minutes
SHOWN = 20
SHOWN_HELD = 100
WAITS = "edits wait here and go up when it answers"


def state_of(engine: Engine) -> tuple[State, str, str]:
    """(state, why, hint)."""
    outage = engine.outage
    if engine.lease.is_lost:
        return (
            State.FENCED,
            "A newer node took this folder over; nothing is written here any more",
            ("what was not saved is parked under .preflight/stranded in the bucket"),
        )
    if engine.is_stopping:
        return State.STOPPING, "Saving what is left before the end", ""
    if outage is not None and engine.is_offline():
        if isinstance(outage.error, Denied | Misconfigured):
            return State.FAILED, outage.error.what, outage.error.hint or "check the credentials and the bucket"
        if isinstance(outage.error, DiskFull):
            return State.FAILED, outage.error.what, outage.error.hint
        return State.OFFLINE, outage.error.what, outage.error.hint or WAITS
    if not engine.restored:
        return (State.STARTING if engine.restore is None else State.RESTORING), "", ""
    silence = engine.store.silence if isinstance(engine.store, Retrying) else None
    if silence and engine.agenda.pending and engine.clock.monotonic() - silence.since_s >= SILENT_S:
        return State.OFFLINE, silence.error.what, silence.error.hint or WAITS
    if engine.held is not None:
        return State.HELD, engine.held.why, "`preflight sync release` lets the deletes go ahead"
    return (State.SAVED if engine.is_idle() else State.SAVING), "", ""


def status_of(engine: Engine, *, mirrors: tuple[dict[str, object], ...] = ()) -> Status:
    """A snapshot for `status.write_status`."""
    now_s, wall_s = engine.clock.monotonic(), engine.clock.now()
    state, why, hint = state_of(engine)
    pending = engine.agenda.pending
    oldest = min((item.first_s for item in pending.values()), default=now_s)
    first = sorted(itertools.islice(pending.values(), 5000), key=lambda item: item.first_s)[:SHOWN]
    held = [] if engine.held is None else [g.path for g in engine.agenda.gone.values() if not g.is_approved]
    files, size = engine.journal.counts()
    restore = engine.restore
    unreadable = ((folder or ".", why) for folder, why in engine.scanner.problems.items())
    problems = itertools.chain(engine.problems.items(), unreadable)
    moved, requests = engine.store.meter.transferred(), engine.store.meter.requests()
    facts = engine.store.facts
    return Status(
        state=state,
        store=engine.store.url,
        why=why,
        hint=hint,
        pending_files=len(pending),
        pending_bytes=sum(item.entry.size for path, item in pending.items() if not path.endswith("/")),
        oldest_pending_s=max(0.0, now_s - oldest),
        pending=tuple(item.path for item in first),
        last_durable_at=engine.last_durable_at,
        epoch=engine.lease.epoch,
        held=tuple({"path": p, "why": engine.held.why if engine.held else ""} for p in held[:SHOWN_HELD]),
        held_count=len(held),
        conflicts=tuple({"path": p, "copy": c, "at": at} for p, c, at in engine.journal.conflicts()),
        problems=tuple({"path": p, "why": w} for p, w in itertools.islice(problems, SHOWN_HELD)),
        problems_count=len(engine.problems) + len(engine.scanner.problems),
        requests=requests,
        cost_usd=estimate(facts.provider, requests, moved.get("received", 0)),
        bytes_sent=moved.get("sent", 0),
        bytes_received=moved.get("received", 0),
        files=files,
        bytes=size,
        restore=engine.last_progress if restore is None else progress_of(engine),
        restored=engine.restored,
        left_by_previous=engine.left_by_previous,
        mirrors=mirrors,
        capability={"writes": facts.writes.value, "delete_if_match": facts.delete_if_match, "copy": facts.copy},
        pid=os.getpid(),
        updated_at=wall_s,
    )


def progress_of(engine: Engine) -> Progress:
    """How far the pull is."""
    restore = engine.restore
    if restore is None:
        return engine.last_progress
    return Progress(restore.files_done, restore.files_total, restore.bytes_done, restore.bytes_total)
