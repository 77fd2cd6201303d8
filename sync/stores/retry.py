"""The one layer that asks again: backs off on trouble, slows down when asked to, resumes broken downloads.

A retried conditional write whose first attempt did reach the server finds its own object there: that is a success,
not a conflict, and is told from a conflict by comparing content.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from sync.clock import Clock, SystemClock
from sync.errors import NotFound, PreconditionFailed, SyncError, Throttled, Transient
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, Read, Store, StoreFacts, Write
from sync.stores.body import opened
from sync.stores.pace import Pace
from sync.stores.together import Arrived, Written, get_many, put_many

T = TypeVar("T")
log = logging.getLogger(__name__)
RESUME_BYTES = 4 * 1024 * 1024  # what one broken connection can cost a resumed download


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to insist on one request before the engine hears of it (it then says `offline` and comes back)."""

    attempts: int = 5
    first_wait_s: float = 0.2
    max_wait_s: float = 10.0
    widest: int = 96  # requests in flight while nobody throttles us


@dataclass(frozen=True, slots=True)
class Silence:
    """Requests have failed one after the other, with nothing answered between: the last error, since when."""

    error: Transient
    since_s: float


@dataclass(frozen=True, slots=True)
class _Refused:
    """Of several: not sent, because this node may not write any more."""

    error: SyncError


class Retrying:
    """A Store around a Store. Only `Transient` (and so `Throttled`) is asked again."""

    def __init__(
        self,
        inner: Store,
        *,
        patience: Patience | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.inner = inner
        self.patience = patience or Patience()
        self.pace = Pace(self.patience.widest)
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        # Asked before a write of several and before one that is sent again: whoever might write may be fenced by then.
        self.permit: Callable[[str], None] = lambda key: None
        # Long before one request is given up, this says that the store does not answer. None: it does, or nobody asked.
        self.silence: Silence | None = None

    @property
    def facts(self) -> StoreFacts:
        return self.inner.facts

    @property
    def meter(self) -> Meter:
        return self.inner.meter

    @property
    def url(self) -> str:
        return self.inner.url

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Listings restart from their beginning; what was already yielded is not yielded twice."""
        seen: set[str] = set()
        last = b""  # of an ordered listing: all that is remembered, however many keys there are
        is_ordered = self.facts.lists_in_order
        attempt = 0
        while True:
            try:
                for info in self.inner.list(prefix):
                    name = info.key.encode("utf-8", "surrogatepass")
                    if info.key in seen or (is_ordered and name <= last):
                        continue
                    if is_ordered:
                        last = name
                    else:
                        seen.add(info.key)
                    yield info
                return
            except Transient as error:
                attempt += 1
                self._wait_or_raise(error, attempt)

    def head(self, key: str) -> ObjectInfo:
        return self._insist(lambda: self.inner.head(key))

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        start = into.tell() if into.seekable() else 0
        counted = _Counted(into)
        try:
            return self._once(lambda: self.inner.get(key, counted, if_version=if_version))  # type: ignore[arg-type]
        except Transient as error:
            if not into.seekable():
                raise
            self._wait_or_raise(error, 1)
        info = self.head(key)
        version = if_version if if_version is not None else info.version
        if if_version is None:  # what came first may have been another version
            into.seek(start)
            into.truncate()
            counted.written = 0
        while counted.written < info.size:
            at = counted.written
            length = min(RESUME_BYTES, info.size - at)
            into.seek(start + at)
            piece = self._insist(
                lambda at=at, length=length: self.inner.get_range(key, at, length, if_version=version)  # type: ignore[misc]
            )
            if not piece:
                raise Transient("the body ended early", where=key)
            counted.write(piece)
        if info.version != version:
            raise PreconditionFailed("the object is not the version that was named", where=key)
        return info

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes | memoryview:
        return self._insist(lambda: self.inner.get_range(key, start, length, if_version=if_version))

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        return self._insist(
            lambda: self.inner.put(key, body, meta=meta, only_if=only_if),
            already=lambda: self._already(key, body, meta),
            writes=key,
        )

    def _already(self, key: str, body: bytes | Path, meta: Mapping[str, str]) -> ObjectInfo | None:
        """The object, if it is what we wanted to put there."""
        found = self.inner.head(key)
        if any(found.meta.get(name) != value for name, value in meta.items()):
            return None  # an earlier write of the same content may have had another mode
        md5 = found.md5 if found.md5 is not None else self._md5_of(key, found.version)
        return found if md5 == _md5_of_body(body) else None

    def put_many(self, writes: Sequence[Write]) -> Written:
        """See `together.py`."""

        def settled(number: int, error: SyncError) -> ObjectInfo | SyncError:
            write = writes[number]
            try:
                return self._already(write.key, write.body, write.meta) or error
            except SyncError:
                return error

        return self._insist_on_many(
            len(writes),
            lambda numbers: put_many(self.inner, [writes[number] for number in numbers]),
            settled,
            lambda number: self.permit(writes[number].key),
        )

    def get_many(self, reads: Sequence[Read]) -> Arrived:
        """See `together.py`."""
        return self._insist_on_many(
            len(reads),
            lambda numbers: get_many(self.inner, [reads[number] for number in numbers]),
            lambda number, error: error,
            lambda number: None,
        )

    def _insist_on_many(
        self,
        count: int,
        ask: Callable[[Sequence[int]], Iterator[tuple[int, T | SyncError]]],
        settled: Callable[[int, SyncError], T | SyncError],
        permit: Callable[[int], None],
    ) -> Iterator[tuple[int, T | SyncError]]:
        """As `_insist`, for requests 0 to `count` - 1 side by side: what is in trouble is asked again together.

        `settled`: what an obstacle means after a doubtful attempt; `permit` raises if one may not be sent again.
        """
        todo: Sequence[int] = range(count)
        attempt = 0
        while todo:
            troubled: dict[int, Transient] = {}
            for number, result in self._once_each(todo, ask, permit):
                if isinstance(result, _Refused):
                    yield number, result.error
                elif isinstance(result, Transient):
                    troubled[number] = result
                elif attempt and isinstance(result, PreconditionFailed | NotFound):
                    yield number, settled(number, result)
                else:
                    yield number, result
            todo = list(troubled)
            if troubled:
                attempt += 1
                slower = (error for error in troubled.values() if isinstance(error, Throttled))
                try:
                    self._wait_or_raise(next(slower, next(iter(troubled.values()))), attempt)
                except Transient:
                    yield from troubled.items()
                    return

    def _once_each(
        self,
        todo: Sequence[int],
        ask: Callable[[Sequence[int]], Iterator[tuple[int, T | SyncError]]],
        permit: Callable[[int], None],
    ) -> Iterator[tuple[int, T | SyncError | _Refused]]:
        """One attempt of each, as many at once as the pace allows."""
        at = 0
        while at < len(todo):
            flying = self.pace.enter(len(todo) - at)
            entered, chunk = todo[at : at + flying], []
            at += flying
            try:
                for number in entered:
                    try:  # what went before may have taken long, and so may the wait for the pace
                        permit(number)
                        chunk.append(number)
                    except SyncError as error:
                        flying -= 1
                        self.pace.leave(throttled=False)
                        yield number, _Refused(error)
                began_s = self._clock.monotonic()
                for place, result in ask(chunk):
                    flying -= 1
                    self.pace.leave(throttled=isinstance(result, Throttled))
                    if isinstance(result, Transient):
                        self.silence = Silence(result, began_s if self.silence is None else self.silence.since_s)
                    else:
                        self.silence = None
                    yield chunk[place], result
            finally:
                for _ in range(flying):
                    self.pace.leave(throttled=False)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        return self._insist(
            lambda: self.inner.copy(source, target, if_version=if_version, only_if=only_if), writes=target
        )

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        self._insist(lambda: self.inner.delete(key, if_version=if_version), writes=key)

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        return self._insist(lambda: self.inner.start_upload(key, meta=meta))

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        return self._insist(lambda: self.inner.put_part(key, upload, number, body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        return self._insist(lambda: self.inner.list_parts(key, upload))

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        def already() -> ObjectInfo | None:
            found = self.inner.head(key)
            return found if found.size == sum(part.size for part in parts) and self._is_gone(key, upload) else None

        return self._insist(
            lambda: self.inner.finish_upload(key, upload, parts, only_if=only_if), already=already, writes=key
        )

    def abort_upload(self, key: str, upload: str) -> None:
        self._insist(lambda: self.inner.abort_upload(key, upload))

    def close(self) -> None:
        self.inner.close()

    def _is_gone(self, key: str, upload: str) -> bool:
        try:
            self.inner.list_parts(key, upload)
        except NotFound:
            return True
        return False

    def _md5_of(self, key: str, version: str) -> bytes:
        sink = _Digest()
        self.inner.get(key, sink, if_version=version)  # type: ignore[arg-type]
        return sink.digest.digest()

    def _once(self, ask: Callable[[], T]) -> T:
        self.pace.enter()
        throttled = False
        began_s = self._clock.monotonic()
        try:
            answer = ask()
        except Transient as error:
            throttled = isinstance(error, Throttled)
            self.silence = Silence(error, began_s if self.silence is None else self.silence.since_s)
            raise
        except SyncError:
            self.silence = None  # a refusal is an answer
            raise
        else:
            self.silence = None
            return answer
        finally:
            self.pace.leave(throttled=throttled)

    def _insist(
        self, ask: Callable[[], T], *, already: Callable[[], T | None] | None = None, writes: str | None = None
    ) -> T:
        attempt = 0
        while True:
            try:
                return self._once(ask)
            except (PreconditionFailed, NotFound):
                # After a doubtful attempt the obstacle may be what we wrote ourselves.
                if attempt == 0 or already is None:
                    raise
                try:
                    found = already()
                except SyncError:
                    found = None
                if found is None:
                    raise
                return found
            except Transient as error:
                attempt += 1
                self._wait_or_raise(error, attempt)
                if writes is not None:
                    self.permit(writes)

    def _wait_or_raise(self, error: Transient, attempt: int) -> None:
        if attempt >= self.patience.attempts:
            raise error
        # Full jitter: many nodes that failed together must not come back together.
        wait_s = self._rng.uniform(0.5, 1.0) * min(
            self.patience.max_wait_s, self.patience.first_wait_s * 2 ** (attempt - 1)
        )
        if isinstance(error, Throttled) and error.after_s is not None:
            wait_s = max(wait_s, min(error.after_s, 60.0))
        log.debug("asking again", extra={"why": error.what, "key": error.where, "attempt": attempt, "wait_s": wait_s})
        self._clock.sleep(wait_s)


class _Counted:
    """Counts what went through, so that a broken download knows how far it came."""

    def __init__(self, into: BinaryIO) -> None:
        self._into = into
        self.written = 0

    def write(self, chunk: bytes | memoryview) -> int:
        self._into.write(chunk)
        self.written += len(chunk)
        return len(chunk)


class _Digest:
    def __init__(self) -> None:
        self.digest = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> int:
        self.digest.update(chunk)
        return len(chunk)


def _md5_of_body(body: bytes | Path) -> bytes:
    if isinstance(body, bytes):
        return hashlib.md5(body, usedforsecurity=False).digest()
    with opened(body) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
