"""What to do when the bucket holds another version than the journal knew: adopt our own, keep both of two.

A put whose answer was lost and that was sent again finds its own content: that is no conflict. Foreign content is
preserved under a conflict name first; then exactly that version is overwritten, so that the notebook that the
user has open keeps its name.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync.errors import NotFound, PreconditionFailed, Transient, Unsupported
from sync.names import conflict_path, key_of
from sync.stores import ABSENT, ObjectInfo, Precondition, Store, only_over
from sync.tree import Doubt, Row
from sync.work import Copy, Task, World

ROUNDS = 4  # two writers that keep beating each other are left for the next round
COMPARE_BYTES = 64 * 1024 * 1024  # above this equal size and no checksum is not taken for equal content


@dataclass(frozen=True, slots=True)
class Resolved:
    """The object that now holds our content, and what was preserved on the way."""

    info: ObjectInfo
    copies: tuple[Copy, ...] = ()


def md5_of(store: Store, key: str, info: ObjectInfo) -> bytes | None:
    """The MD5 of an object's content without fetching it, if anything states it."""
    if info.md5 is not None:
        return info.md5
    stated = info.meta.get("md5chksum")
    if stated is None:
        return None
    try:
        digest = base64.b64decode(stated, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == 16 else None


def is_same(world: World, key: str, info: ObjectInfo, size: int, digest: bytes) -> bool:
    """Whether the object's content is the one with this size and MD5."""
    if info.size != size:
        return False
    stated = md5_of(world.store, key, info)
    if stated is not None:
        return stated == digest
    if size > COMPARE_BYTES:
        return False
    body = io.BytesIO()
    world.store.get(key, body, if_version=info.version)
    return hashlib.md5(body.getvalue()).digest() == digest


def find_ours(world: World, key: str, info: ObjectInfo, writes: Sequence[Doubt]) -> Doubt | None:
    """The write without an answer that made this object, if one of these did."""
    return next((w for w in writes if w.md5 and is_same(world, key, info, w.size, w.md5)), None)


def resolve(task: Task, body: bytes, digest: bytes, meta: Mapping[str, str], world: World) -> Resolved:
    """Get `body` to its name without losing what is there.

    Raises:
        Transient: the object kept changing under us; the next round tries again.
    """
    key = key_of(task.path)
    copies: list[Copy] = []
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
                if not (same or key.endswith("/") or find_ours(world, key, info, task.ours)):
                    world.confirm()
                    copies.append(preserve(task, info, world))
            except (NotFound, PreconditionFailed):
                continue
            only_if = only_over(info.version)
        world.permit()
        try:
            return Resolved(world.store.put(key, body, meta=meta, only_if=only_if), tuple(copies))
        except PreconditionFailed:
            continue
    raise Transient("The object keeps changing", where=key)


def same_marks(info: ObjectInfo, meta: Mapping[str, str], names: Sequence[str]) -> bool:
    """Whether an object carries what `meta` says under these names."""
    return all(info.meta.get(name) == meta.get(name) for name in names)


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
    return Copy(path, copy, world.clock.now(), row)


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
    from sync.fetch import bring  # fetch needs this module's comparison

    return bring(copy, info, world)
