"""Credentials that change while we run: a new connection as soon as a `<VARIABLE>_FILE` has new content."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeVar

from sync.clock import Clock, SystemClock
from sync.errors import Denied, Misconfigured, SyncError
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, Read, Store, StoreFacts, Write
from sync.stores.config import StoreConfig
from sync.stores.together import Arrived, Written, get_many, put_many

T = TypeVar("T")

LOOK_EVERY_S = 1.0  # reading a few small files costs microseconds
log = logging.getLogger(__name__)


def is_renewable(config: StoreConfig) -> bool:
    """Whether any credential comes from a file."""
    return any(secret.file is not None for secret in config.credentials.values())


class Renewing:
    """A Store that is opened anew, by `make`, when the credentials of `config` read differently."""

    def __init__(self, config: StoreConfig, make: Callable[[], Store], *, clock: Clock | None = None) -> None:
        self._config = config
        self._make = make
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._print = self._fingerprint()
        self.inner = make()
        self._looked_s = self._clock.monotonic()
        self._retired: list[Store] = []

    @property
    def facts(self) -> StoreFacts:
        return self.inner.facts

    @property
    def meter(self) -> Meter:
        return self.inner.meter

    @property
    def url(self) -> str:
        return self.inner.url

    def _fingerprint(self) -> bytes:
        digest = hashlib.sha256()
        for role, secret in sorted(self._config.credentials.items()):
            digest.update(f"{role}={secret.reveal()}\0".encode())
        return digest.digest()

    def _look(self, *, now: bool = False) -> bool:
        """Open anew if the credentials changed; whether they did."""
        with self._lock:
            moment_s = self._clock.monotonic()
            if not now and moment_s - self._looked_s < LOOK_EVERY_S:
                return False
            self._looked_s = moment_s
            found = self._fingerprint()
            if found == self._print:
                return False
            try:
                fresh = self._make()
            except Misconfigured as error:  # a half-written file: the old credentials serve until it is whole
                log.warning("renewed credentials cannot be used", extra={"why": error.what, "store": self.url})
                return False
            fresh.facts = self.inner.facts  # type: ignore[misc]  # what the probe learned stays true
            self._retired.append(self.inner)  # other threads may still be using it
            self.inner, self._print = fresh, found
        log.info("credentials were renewed", extra={"store": self.url})
        return True

    @contextmanager
    def _current(self) -> Iterator[Store]:
        self._look()
        try:
            yield self.inner
        except Denied:
            self._look(now=True)  # the next attempt uses what may have arrived meanwhile
            raise

    def _watched(
        self, many: Callable[[Store], Iterator[tuple[int, T | SyncError]]]
    ) -> Iterator[tuple[int, T | SyncError]]:
        self._look()
        for number, result in many(self.inner):
            if isinstance(result, Denied):
                self._look(now=True)
            yield number, result

    def put_many(self, writes: Sequence[Write]) -> Written:
        """See `together.py`."""
        return self._watched(lambda store: put_many(store, writes))

    def get_many(self, reads: Sequence[Read]) -> Arrived:
        """See `together.py`."""
        return self._watched(lambda store: get_many(store, reads))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._current() as store:
            yield from store.list(prefix)

    def head(self, key: str) -> ObjectInfo:
        with self._current() as store:
            return store.head(key)

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        with self._current() as store:
            return store.get(key, into, if_version=if_version)

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes | memoryview:
        with self._current() as store:
            return store.get_range(key, start, length, if_version=if_version)

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        with self._current() as store:
            return store.put(key, body, meta=meta, only_if=only_if)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        with self._current() as store:
            return store.copy(source, target, if_version=if_version, only_if=only_if)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        with self._current() as store:
            store.delete(key, if_version=if_version)

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        with self._current() as store:
            return store.start_upload(key, meta=meta)

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        with self._current() as store:
            return store.put_part(key, upload, number, body)

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        with self._current() as store:
            return store.list_parts(key, upload)

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        with self._current() as store:
            return store.finish_upload(key, upload, parts, only_if=only_if)

    def abort_upload(self, key: str, upload: str) -> None:
        with self._current() as store:
            store.abort_upload(key, upload)

    def close(self) -> None:
        for store in (*self._retired, self.inner):
            store.close()
