"""Where a fenced node puts what it had not saved: `.preflight/stranded/<machine>/`, over nobody's object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from sync.names import STRANDED
from sync.stores import ANY, ObjectInfo, Part, Precondition, Store
from sync.work import World


def parked(world: World) -> World:
    """The same world, in which everything goes to the stranded area: without a lease, and compared with nothing."""
    return replace(
        world,
        store=Parking(world.store, world.machine),
        permit=lambda: None,
        confirm=lambda: None,
        intend=lambda write, over: None,
        unfinished={},
    )


class Parking:
    """A store that writes everything below the stranded area, unconditionally."""

    def __init__(self, store: Store, machine: str) -> None:
        self._store = store
        self._top = f"{STRANDED}/{machine.replace('/', '_')}/"
        self.facts = store.facts
        self.meter = store.meter
        self.url = store.url

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """What is parked."""
        return self._store.list(self._top + prefix)

    def head(self, key: str) -> ObjectInfo:
        """See `Store`."""
        return self._store.head(self._top + key)

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        """See `Store`."""
        return self._store.get(self._top + key, into, if_version=if_version)

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes | memoryview:
        """See `Store`."""
        return self._store.get_range(self._top + key, start, length, if_version=if_version)

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        """Unconditional: the area belongs to this machine."""
        return self._store.put(self._top + key, body, meta=meta)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        """See `Store`."""
        return self._store.copy(self._top + source, self._top + target, if_version=if_version)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        """Nothing parked is ever deleted by the node that parked it."""

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        """See `Store`."""
        return self._store.start_upload(self._top + key, meta=meta)

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        """See `Store`."""
        return self._store.put_part(self._top + key, upload, number, body)

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        """See `Store`."""
        return self._store.list_parts(self._top + key, upload)

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        """Unconditional, like `put`."""
        return self._store.finish_upload(self._top + key, upload, parts)

    def abort_upload(self, key: str, upload: str) -> None:
        """See `Store`."""
        self._store.abort_upload(self._top + key, upload)

    def close(self) -> None:
        """The store below is closed by its owner."""
