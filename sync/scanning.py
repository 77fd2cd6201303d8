"""Which folders are scanned when: those that an alarm names once they rest, and all of them now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.root import verify_root
from sync.scan import Diff

if TYPE_CHECKING:
    from sync.engine import Engine

DEBOUNCE_S = 0.05  # events of one save come within a few milliseconds
DEBOUNCE_MOST_S = 0.25  # a busy folder elsewhere delays nobody's save by more
AUDIT_LEAST_S = 30.0
AUDIT_COST = 200  # an audit that takes 0.7 s comes every 140 s: 0.5 % of a core
SLICE_S = 0.05  # of a walk, between looks at what workers answered
BACKLOG = 20_000  # a walk waits while more than this is pending: memory stays bounded
BIG_FOLDER_S = 0.02  # to scan: some 5,000 files


def scan(engine: Engine, now_s: float) -> None:
    """Scan the dirty folders that have come to rest, and a slice of the walk under way."""
    if engine.walk is None and (engine.walks_done == 0 or engine.wants_walk or now_s >= engine.audit_due_s):
        engine.rescan()
    if engine.dirty and now_s >= dirty_due_s(engine):
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


def dirty_due_s(engine: Engine) -> float:
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


def _take(engine: Engine, diff: Diff) -> None:
    now_s = engine.clock.monotonic()
    engine.agenda.update(diff, now_s, engine.clock.now())
    if not diff.folder and ".preflightignore" in diff.changed and engine.scanner.read_ignore():
        engine.rescan()
