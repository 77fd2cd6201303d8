"""A pull as the control thread sees it: begin, hand out fetches, place what arrived, finish."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sync import doubts
from sync.errors import NotFound, SyncError
from sync.fetch import Wanted, fetch, fetch_together, place
from sync.names import OURS, key_of, stamp
from sync.plan import Op
from sync.restoring import Pull, Restore, compare, list_all, unsaved_by
from sync.root import verify_root
from sync.status import Progress
from sync.tree import Kind, Remote, Row, unchanged
from sync.twins import mend
from sync.work import LIGHT_BYTES, Failed, Fetched, Listed, Outcome, Placed, Several, Unsaveable, Vanished, weighed

if TYPE_CHECKING:
    from sync.engine import Engine

log = logging.getLogger(__name__)


def may_try(engine: Engine, now_s: float) -> bool:
    """Whether the store is not to be left alone for a while."""
    return engine.outage is None or now_s >= engine.outage.retry_s


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


def pull(engine: Engine, restore: Restore, now_s: float) -> None:
    """What the pull under way can do now."""
    if restore.plan is None:
        return
    due = [pull for at, pull in restore.again if at <= now_s]
    restore.again = [(at, pull) for at, pull in restore.again if at > now_s]
    for pull in due:
        _refetch(engine, restore, pull)
    is_open = may_try(engine, now_s)
    while is_open and not restore.is_planned and len(restore.in_flight) < int(engine.window) * 4:
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
        engine.run_job(pull.path, "fetch", _job(engine, pull, pull.remote))


def _job(engine: Engine, pull: Pull, remote: Remote) -> Callable[[], Outcome]:
    world = engine.world
    if pull.path in engine.doubts.open:  # it may be what this node itself wrote
        return weighed(world, remote.size, doubts.job_of(engine, pull.path))
    merges = pull.op is Op.MERGE
    row = engine.journal.row(pull.path) if merges else None  # asked of a file that is here, and of no other
    wanted = Wanted(pull.path, remote, pull.local, merges=merges, row=row)
    if world.store.facts.together and remote.size <= LIGHT_BYTES and not merges:
        return Several(wanted, world, fetch_together)
    return weighed(world, remote.size, partial(fetch, wanted, world))


def _refetch(engine: Engine, restore: Restore, pull: Pull) -> None:
    """Something moved, here or there: look at both sides of this path again."""
    restore.in_flight[pull.path] = pull.remote.size if pull.remote else 0
    restore.adopts[pull.path] = pull
    engine.run_job(pull.path, "fetch", partial(_fetch_current, engine, pull.path, engine.journal.row(pull.path)))


def _fetch_current(engine: Engine, path: str, row: Row | None) -> Outcome:
    """Fetch whatever version the bucket has now; a local file that differs is kept beside it."""

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
    merges = here is not None and not path.endswith("/")
    return fetch(Wanted(path, remote, here, merges=merges, row=row), engine.world)


def fetch_one(engine: Engine, path: str) -> None:
    """Bring one path's present version into the folder, outside of a pull."""
    engine.run_job(path, "fetch", partial(_fetch_current, engine, path, None))


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
    """Somebody deleted it in the bucket: the local file moves to the folder's own trash.

    One that was edited since it was compared stays, and is pushed anew: an edit beats a delete.
    """
    try:
        if path.endswith("/"):
            engine.files.remove_folder(path[:-1])
        else:
            row, here = engine.journal.row(path), engine.files.entry(path)
            if row is not None and here is not None and unchanged(here, row):
                kept = f"{OURS}/removed/{stamp(engine.clock.now())}/{path}"
                moved = engine.files.move(path, kept)
                if moved[:3] != here[:3] or moved.ino != here.ino:  # edited in this very moment
                    engine.files.move(kept, path)
    except (OSError, SyncError):
        return
    engine.journal.drop(path)
    engine.mark_now(path.rstrip("/").rpartition("/")[0], now_s)
