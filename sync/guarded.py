"""Writes that hold their precondition on every class of store: by the server, or by looking first."""

from __future__ import annotations

from collections.abc import Mapping

from sync.errors import NotFound, PreconditionFailed, Unsupported
from sync.stores import ANY, ObjectInfo, Precondition, Store, Writes


def is_enforced(store: Store, only_if: Precondition) -> bool:
    """Whether the server itself holds this precondition."""
    if only_if == ANY or store.facts.writes is Writes.FULL:
        return True
    return only_if.if_absent and store.facts.writes is Writes.CREATE_ONLY


def look_first(store: Store, key: str, only_if: Precondition) -> None:
    """Compare before the write, where the server will not.

    Raises:
        PreconditionFailed: the object is not what `only_if` says.
    """
    try:
        info = store.head(key)
    except NotFound as error:
        if only_if.if_version is not None:
            raise PreconditionFailed("The object is gone", where=key) from error
        return
    if only_if.if_absent or info.version != only_if.if_version:
        raise PreconditionFailed("Somebody else wrote the object", where=key)


def put_guarded(store: Store, key: str, body: bytes, *, meta: Mapping[str, str], only_if: Precondition) -> ObjectInfo:
    """`store.put`, with the precondition held as well as this store allows."""
    if not is_enforced(store, only_if):
        look_first(store, key, only_if)
        only_if = ANY
    return store.put(key, body, meta=meta, only_if=only_if)


def copy_guarded(store: Store, source: str, target: str, *, version: str, only_if: Precondition) -> ObjectInfo:
    """`store.copy` of one version, with the precondition on the target held as well as this store allows.

    Raises:
        Unsupported: the store has no server-side copy.
    """
    if not store.facts.copy:
        raise Unsupported("This store has no server-side copy", where=source)
    if is_enforced(store, only_if):
        try:
            return store.copy(source, target, if_version=version, only_if=only_if)
        except Unsupported:
            if only_if == ANY:
                raise
    look_first(store, target, only_if)
    return store.copy(source, target, if_version=version)


def delete_exactly(store: Store, key: str, version: str) -> None:
    """Delete one version; a missing object is not an error."""
    if store.facts.delete_if_match:
        store.delete(key, if_version=version)
        return
    try:
        info = store.head(key)
    except NotFound:
        return
    if info.version != version:
        raise PreconditionFailed("Somebody else wrote the object", where=key)
    store.delete(key)
