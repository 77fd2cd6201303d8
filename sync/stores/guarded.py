"""Writes that hold their precondition on every class of store: by the server, or by a look before each attempt.

It lies below the retry layer, so a write that is sent again looks again: what somebody else wrote between two
attempts is not replaced. Between a look and its write nothing protects; that is what `StoreFacts.writes` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from sync.errors import NotFound, PreconditionFailed, Unsupported
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, Read, Store, StoreFacts, Write, Writes
from sync.stores.together import Arrived, Written, get_many, put_each, put_many


class Guarded:
    """A store around a store that never answers `Unsupported` to a precondition."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        # Asked after each look: it may have taken long, and whoever might write before it may be fenced by then.
        self.permit: Callable[[str], None] = lambda key: None

    @property
    def facts(self) -> StoreFacts:
        """See `Store`: what the server itself can do."""
        return self.inner.facts

    @property
    def meter(self) -> Meter:
        """See `Store`."""
        return self.inner.meter

    @property
    def url(self) -> str:
        """See `Store`."""
        return self.inner.url

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        """See `Store`."""
        return self.inner.put(key, body, meta=meta, only_if=self._looked(key, only_if))

    def put_many(self, writes: Sequence[Write]) -> Written:
        """See `together.py`: at once where the server compares, one by one where we must."""
        is_enforced = all(self._is_enforced(write.only_if) for write in writes)
        return put_many(self.inner, writes) if is_enforced else put_each(self, writes, permit=self.permit)

    def get_many(self, reads: Sequence[Read]) -> Arrived:
        """See `together.py`."""
        return get_many(self.inner, reads)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        """See `Store`. Some servers compare when an object is put and not when it is copied.

        Raises:
            Unsupported: the store has no server-side copy.
        """
        if not self.facts.copy:
            raise Unsupported("This store has no server-side copy", where=source)
        if self._is_enforced(only_if):
            try:
                return self.inner.copy(source, target, if_version=if_version, only_if=only_if)
            except Unsupported:
                if only_if == ANY:
                    raise
        self._look(target, only_if)
        return self.inner.copy(source, target, if_version=if_version)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        """See `Store`."""
        if if_version is None or self.facts.delete_if_match:
            self.inner.delete(key, if_version=if_version)
            return
        try:
            info = self.inner.head(key)
        except NotFound:
            return
        if info.version != if_version:
            raise PreconditionFailed("Somebody else wrote the object", where=key)
        self.permit(key)
        self.inner.delete(key)

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        """See `Store`."""
        return self.inner.finish_upload(key, upload, parts, only_if=self._looked(key, only_if))

    def _is_enforced(self, only_if: Precondition) -> bool:
        """Whether the server itself holds this precondition."""
        if only_if == ANY or self.facts.writes is Writes.FULL:
            return True
        return only_if.if_absent and self.facts.writes is Writes.CREATE_ONLY

    def _looked(self, key: str, only_if: Precondition) -> Precondition:
        if self._is_enforced(only_if):
            return only_if
        self._look(key, only_if)
        return ANY

    def _look(self, key: str, only_if: Precondition) -> None:
        """Compare before the write. Raises PreconditionFailed: the object is not what `only_if` says."""
        try:
            found = self.inner.head(key).version
        except NotFound:
            found = None
        if found != (None if only_if.if_absent else only_if.if_version):
            raise PreconditionFailed("The object is gone" if found is None else "Somebody else wrote it", where=key)
        self.permit(key)

    # Handed through.
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store`."""
        return self.inner.list(prefix)

    def head(self, key: str) -> ObjectInfo:
        """See `Store`."""
        return self.inner.head(key)

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        """See `Store`."""
        return self.inner.get(key, into, if_version=if_version)

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes | memoryview:
        """See `Store`."""
        return self.inner.get_range(key, start, length, if_version=if_version)

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        """See `Store`."""
        return self.inner.start_upload(key, meta=meta)

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        """See `Store`."""
        return self.inner.put_part(key, upload, number, body)

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        """See `Store`."""
        return self.inner.list_parts(key, upload)

    def abort_upload(self, key: str, upload: str) -> None:
        """See `Store`."""
        self.inner.abort_upload(key, upload)

    def close(self) -> None:
        """See `Store`."""
        self.inner.close()
