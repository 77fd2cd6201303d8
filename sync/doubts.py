"""Writes and deletes whose answer never came: remembered until somebody looked what became of them.

The life before this one may have left some too (`intents.py`). Such a write may have made an object that no journal
row names. As long as the file is there its next upload finds out (and knows its own content again, so that it is no
conflict). When the file is gone by then, nobody would look: so one HEAD is asked once the store answers. What turns
out to be ours gets its row, and the ordinary delete follows.

A delete without an answer matters when the file comes back as it was: the journal's row fits, and the object may be
gone, or go while a request that its sender gave up is still carried out. So it is looked at, at once and late.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
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


@dataclass(slots=True)
class Deleting:
    """A delete without an answer. Times are monotonic seconds."""

    since_s: float
    due_s: float
    is_last: bool = False  # the look that is under way comes after everything that may still happen


class Doubts:
    """By path; the writes are kept in the journal too. Used by the control thread only."""

    def __init__(self, journal: Journal, intents: Intents, now_s: float) -> None:
        self._journal = journal
        self._intents = intents
        self.open: dict[str, Open] = {}
        self.deletes: dict[str, Deleting] = {}  # a next life lists the bucket, and needs no memory of them
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

    def add_delete(self, path: str, now_s: float) -> None:
        """Its object may be gone, or go soon."""
        self.deletes[path] = Deleting(now_s, now_s)

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
        self.deletes.clear()
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
        return Settled(path, is_absent=True)
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
    if engine.outage is not None and now_s < engine.outage.retry_s:
        return
    if not engine.doubts.open and not engine.doubts.deletes:
        return
    # However many there are, uploads keep their places: no more looks at once than there are workers.
    room = engine.limits.workers - sum(1 for verb in engine.busy.values() if verb == "settle")
    for path in _waiting(engine, engine.doubts.open):
        known = engine.doubts.open[path]
        if room > 0 and (now_s >= known.due_s or engine.is_hurried):
            known.due_s = now_s + LATE_S
            engine.run_job(path, "settle", job_of(engine, path))
            room -= 1
    for path in _waiting(engine, engine.doubts.deletes):
        deleting = engine.doubts.deletes[path]
        is_last = now_s >= deleting.since_s + LATE_S
        if not _is_back(engine, path):
            if is_last:
                del engine.doubts.deletes[path]
        elif room > 0 and now_s >= deleting.due_s:
            deleting.is_last = is_last
            deleting.due_s = now_s + LATE_S if is_last else deleting.since_s + LATE_S
            engine.run_job(path, "settle", job_of(engine, path))
            room -= 1


def _waiting(engine: Engine, paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path not in engine.busy and path not in engine.agenda.pending]


def _is_back(engine: Engine, path: str) -> bool:
    """Whether the folder has a path again that a delete without an answer was about."""
    return path not in engine.agenda.gone and engine.journal.row(path) is not None


def may_be_gone(engine: Engine) -> bool:
    """Whether something in the folder may be missing in the bucket though its row says that it is there."""
    return any(_is_back(engine, path) for path in engine.doubts.deletes)


def next_due_s(engine: Engine) -> float | None:
    """When the next look is due."""
    times = [engine.doubts.open[path].due_s for path in _waiting(engine, engine.doubts.open)]
    for path in _waiting(engine, engine.doubts.deletes):
        deleting = engine.doubts.deletes[path]
        times.append(deleting.due_s if _is_back(engine, path) else deleting.since_s + LATE_S)
    if not times:
        return None
    return max(min(times), engine.outage.retry_s if engine.outage else 0.0)


def settled(engine: Engine, outcome: Settled, now_s: float) -> bool:
    """The answer of a look; True when somebody else's object must come into the folder."""
    path = outcome.path
    deleting = engine.doubts.deletes.get(path)
    if deleting is not None:
        if outcome.is_absent and _is_back(engine, path):
            engine.journal.drop(path)
            engine.look_again(path, now_s)
        if deleting.is_last:
            del engine.doubts.deletes[path]
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
