"""What was deleted in the bucket and can be brought back: objects under `.preflight/trash/<time>/<path>`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from sync.errors import NotFound, SyncError
from sync.fetch import bring
from sync.names import LEASE, TRASH, conflict_path, path_of, unstamp
from sync.stores import ObjectInfo, Store
from sync.work import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Discarded:
    """One object in the trash. `at`: when it was deleted (seconds since the epoch)."""

    path: str
    at: float
    size: int
    key: str


def discarded(store: Store) -> Iterator[Discarded]:
    """Everything in the trash, oldest first where the store lists in order."""
    for info in store.list(TRASH + "/"):
        found = _parse(info)
        if found is not None:
            yield found


def _parse(info: ObjectInfo) -> Discarded | None:
    when, _, rest = info.key[len(TRASH) + 1 :].partition("/")
    at = unstamp(when)
    return Discarded(path_of(rest), at, info.size, info.key) if at is not None and rest else None


def newest(found: Iterator[Discarded], path: str, until_s: float | None = None) -> dict[str, Discarded]:
    """For `path` and everything below it the youngest trash object, deleted not later than `until_s`."""
    best: dict[str, Discarded] = {}
    top = path.rstrip("/")
    for item in found:
        inside = not top or item.path == top or item.path.startswith(top + "/")
        if (
            inside
            and (until_s is None or item.at <= until_s)
            and (item.path not in best or item.at > best[item.path].at)
        ):
            best[item.path] = item
    return best


def bring_back(item: Discarded, world: World) -> str:
    """Put a trash object into the folder, over nothing; the path that it got.

    Raises:
        NotFound: it is no longer in the trash.
    """
    path = item.path
    for attempt in range(10):
        if world.files.entry(path) is None:
            break
        path = conflict_path(item.path, "trash", item.at, attempt)
    info = world.store.head(item.key)
    if bring(path, info, world, key=item.key) is None:
        raise NotFound("It could not be put into the folder", where=path)
    return path


def expire(store: Store, keep_s: float) -> int:
    """Delete what has been in the trash for longer than `keep_s`; how many objects that were.

    Only the server's clock counts, on both sides: a node whose own is wrong by a month empties nobody's trash.
    """
    count = 0
    try:
        oldest = store.head(LEASE).modified - keep_s  # confirmed a moment ago: that is now
        for info in list(store.list(TRASH + "/")):
            if info.modified < oldest and _parse(info) is not None:
                store.delete(info.key)
                count += 1
    except SyncError as error:
        log.info("The trash could not be emptied of old objects", extra={"error": str(error)})
    return count
