"""What to do when the bucket holds another version than the journal knew: adopt our own, keep both of two.

A put whose answer was lost and that was sent again finds its own content: that is no conflict. Foreign content is
preserved under a conflict name first; then exactly that version is overwritten, so that the notebook that the
user has open keeps its name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from sync.errors import Contended, NotFound, PreconditionFailed, Transient, Unsupported
from sync.fetch import bring
from sync.names import conflict_path, key_of
from sync.same import find_ours, is_same, md5_of, same_marks
from sync.stores import ABSENT, ANY, ObjectInfo, Precondition, only_over
from sync.tree import Doubt, Row
from sync.work import Copy, Task, World

ROUNDS = 4  # two writers that keep beating each other are left for the next round


@dataclass(frozen=True, slots=True)
class Resolved:
    """The object that now holds our content, and what was preserved on the way."""

    info: ObjectInfo
    copies: tuple[Copy, ...] = ()


def resolve(task: Task, body: bytes, digest: bytes, meta: Mapping[str, str], world: World) -> Resolved:
    """Get `body` to its name without losing what is there.

    Raises:
        Contended: the object kept changing under us.
        Unsupported: the key of a folder has a content, which no folder can keep beside it.
    """
    key = key_of(task.path)
    copies: list[Copy] = []
    refused = ""  # the version that the server named and then did not know
    for _ in range(ROUNDS):
        try:
            info = world.store.head(key)
        except NotFound:
            only_if: Precondition = ABSENT  # deleted by somebody: an edit beats a delete
        else:
            try:
                same = is_same(world, key, info, len(body), digest)
                if same and same_marks(info, meta, ("mode", "mtime", "symlink")):
                    return Resolved(info, tuple(copies))
                if key.endswith("/") and info.size:
                    raise Unsupported("Its key in the bucket has a content of its own; that stays", where=key)
                if not (same or key.endswith("/") or find_ours(world, key, info, task.ours)):
                    world.confirm()
                    copies.append(preserve(task, info, world))
            except (NotFound, PreconditionFailed):
                continue
            only_if = only_over(info.version)
            if info.version == refused and key.endswith("/"):
                # SeaweedFS shows the folder that a deleted file leaves, but compares with it as if it were not there.
                only_if = ANY  # over nothing: it has no content
            refused = info.version
        world.permit()
        try:
            return Resolved(world.store.put(key, body, meta=meta, only_if=only_if), tuple(copies))
        except PreconditionFailed:
            continue
    raise Contended("The object keeps changing in the bucket", where=key)


def preserve(task: Task, info: ObjectInfo, world: World) -> Copy:
    """Copy the foreign version of a path to its conflict name (the same one however often this is repeated)."""
    path, key = task.path, key_of(task.path)
    copied: ObjectInfo | None = None
    copy = ""
    for attempt in range(10):
        copy = conflict_path(path, world.machine, info.modified, attempt)
        world.permit()
        task.sent.append(Doubt(copy, info.size, b""))
        try:
            copied = _copy(world, key, key_of(copy), info)
            break
        except PreconditionFailed:
            try:
                there = world.store.head(key_of(copy))
                stated = md5_of(world.store, key, info)
                if stated is not None and is_same(world, key_of(copy), there, info.size, stated):
                    copied = there
                    break
            except NotFound:
                pass
            world.store.head(key)  # NotFound or another version: the caller looks again
    if copied is None:
        raise Transient("No free name for the conflict copy", where=key)
    row = _bring_here(copy, copied, world) if world.keeps_copies_here else None
    return Copy(path, copy, world.clock.now(), row, is_missing=row is None and world.keeps_copies_here)


def _copy(world: World, source: str, target: str, info: ObjectInfo) -> ObjectInfo:
    store = world.store
    if store.facts.copy:
        try:
            return store.copy(source, target, if_version=info.version, only_if=ABSENT)
        except Unsupported:
            pass
    body = io.BytesIO()
    full = store.get(source, body, if_version=info.version)
    return store.put(target, body.getvalue(), meta=full.meta, only_if=ABSENT)


def _bring_here(copy: str, info: ObjectInfo, world: World) -> Row | None:
    """Make the preserved version a local file too; if that fails it is fetched at the next restore."""
    return bring(copy, info, world)
