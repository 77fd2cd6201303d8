"""Whether an object is what somebody thinks it is: by its checksum, or by its content where nobody states one."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence

from sync.stores import ObjectInfo, Store
from sync.tree import Doubt
from sync.work import World

COMPARE_BYTES = 64 * 1024 * 1024  # above this equal size and no checksum is not taken for equal content


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


def same_marks(info: ObjectInfo, meta: Mapping[str, str], names: Sequence[str]) -> bool:
    """Whether an object carries what `meta` says under these names."""
    return all(info.meta.get(name) == meta.get(name) for name in names)
