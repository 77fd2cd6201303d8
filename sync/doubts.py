"""Writes whose answer never came: remembered until somebody looked whether they reached the bucket.

The life before this one may have left some too (`intents.py`). Such a write may have made an object that no journal
row names. As long as the file is there its next upload finds out (and knows its own content again, so that it is no
conflict). When the file is gone by then, nobody would look: so one HEAD is asked once the store answers. What turns
out to be ours gets its row, and the ordinary delete follows.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sync.errors import NotFound, SyncError
from sync.names import key_of
from sync.same import find_ours
from sync.tree import SMUDGED_NS, Doubt, Entry, Row
from sync.work import Failed, Outcome, Settled, World

if TYPE_CHECKING:
    from sync.engine import Engine
    from sync.intents import Intents
    from sync.state import Journal

LATE_S = 30.0  # a request whose sender gave up may be carried out this much later


@dataclass(slots=True)
class Open:
    """The doubtful writes of one path. Times are monotonic seconds."""

    writes: tuple[Doubt, ...]
    since_s: float
    due_s: float


class Doubts:
    """By path; kept in the journal too. Used by the control thread only."""

    def __init__(self, journal: Journal, intents: Intents, now_s: float) -> None:
        self._journal = journal
        self._intents = intents
        self.open: dict[str, Open] = {}
        self._remember(journal.doubts(), now_s)
        self.add(tuple(intents.left(self._known)), now_s)

    def _known(self, path: str) -> str:
        row = self._journal.row(path)
        return "" if row is None else row.version

    def add(self, writes: tuple[Doubt, ...], now_s: float) -> None:
        """None of these was answered."""
        self._remember(writes, now_s)
        for write in writes:
            self._journal.add_doubt(write)

    def _remember(self, writes: tuple[Doubt, ...], now_s: float) -> None:
        for write in writes:
            known = self.open.get(write.path)
            before = () if known is None else tuple(w for w in known.writes if w != write)
            self.open[write.path] = Open((*before, write), now_s, now_s)

    def drop(self, path: str) -> None:
        """The journal knows what the bucket holds under this name."""
        if self.open.pop(path, None) is not None:
            self._journal.drop_doubts(path)

    def clear(self) -> None:
        """The journal was forgotten, and these with it."""
        self.open.clear()
        self._intents.clear()

    def of(self, path: str) -> tuple[Doubt, ...]:
        """What this node may have written under the name."""
        known = self.open.get(path)
        return () if known is None else known.writes


def settle(path: str, writes: tuple[Doubt, ...], row: Row | None, world: World) -> Outcome:
    """Look at the object. Runs in a worker."""
    key = key_of(path)
    try:
        info = world.store.head(key)
        ours = find_ours(world, key, info, writes)
    except NotFound:
        return Settled(path)
    except SyncError as error:
        return Failed(path, error)
    if row is not None and row.version == info.version:
        return Settled(path)
    if ours is None:
        return Settled(path, is_foreign=True)
    form = stat.S_IFDIR | 0o755 if path.endswith("/") else stat.S_IFREG | 0o644
    return Settled(path, Row(Entry(form, ours.size, 0, SMUDGED_NS, 0), info.version, ours.size, ours.md5))


def job_of(engine: Engine, path: str) -> partial[Outcome]:
    """The look at one path."""
    return partial(settle, path, engine.doubts.of(path), engine.journal.row(path), engine.world)


def look(engine: Engine, now_s: float) -> None:
    """Ask about the paths that no upload will find out about."""
    if not engine.doubts.open or (engine.outage is not None and now_s < engine.outage.retry_s):
        return
    for path, known in list(engine.doubts.open.items())[: engine.limits.workers]:
        is_due = now_s >= known.due_s or engine.is_hurried
        if is_due and path not in engine.busy and path not in engine.agenda.pending:
            known.due_s = now_s + LATE_S
            engine.run_job(path, "settle", job_of(engine, path))


def next_due_s(engine: Engine) -> float | None:
    """When the next look is due."""
    waiting = [
        known.due_s
        for path, known in engine.doubts.open.items()
        if path not in engine.busy and path not in engine.agenda.pending
    ]
    return min(waiting, default=None)


def settled(engine: Engine, outcome: Settled, now_s: float) -> bool:
    """The answer of a look; True when somebody else's object must come into the folder."""
    path = outcome.path
    if outcome.row is not None:
        engine.journal.record(path, outcome.row)
        engine.doubts.drop(path)
        engine.look_again(path, now_s)
        engine.settle_restore(path)
        return False
    known = engine.doubts.open.get(path)
    if outcome.is_foreign or known is None or now_s >= known.since_s + LATE_S:
        engine.doubts.drop(path)
    if engine.restore is not None and path in engine.restore.adopts:
        engine.again_in_restore(path, now_s)
        return False
    return outcome.is_foreign and _is_absent(engine, path)


def _is_absent(engine: Engine, path: str) -> bool:
    try:
        return engine.files.entry(path.rstrip("/")) is None
    except OSError:
        return False
