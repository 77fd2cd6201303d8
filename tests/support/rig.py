"""One engine on a real folder and a real (file) bucket, without threads or waiting: the test holds the clock."""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from sync.disk import DiskFiles
from sync.engine import Engine
from sync.errors import NotFound
from sync.intents import Intents
from sync.lease import Lease
from sync.limits import Limits
from sync.names import is_ours
from sync.parking import parked
from sync.report import status_of
from sync.state import Journal
from sync.status import Status
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, Store, StoreFacts
from sync.stores.file import FileStore
from sync.stores.guarded import Guarded
from sync.work import Noted, Outcome, World

JOB_S = 0.002  # what a transfer takes


class Clock:
    """The wall clock is real (files have real times) plus jumps; the other one is the test's. Nothing ever waits."""

    def __init__(self) -> None:
        self.added_s = 0.0
        self.jumped_s = 0.0  # of the wall clock alone

    def now(self) -> float:
        return time.time() + self.jumped_s

    def monotonic(self) -> float:
        return 1000.0 + self.added_s

    def sleep(self, seconds: float) -> None:
        self.added_s += seconds


class Hooked:
    """A store that calls `before[verb](key)` and `after[verb](key)` around each request; either may raise."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.before: dict[str, Callable[[str], None]] = {}
        self.after: dict[str, Callable[[str], None]] = {}
        self.log: list[tuple[str, str]] = []
        self.facts: StoreFacts = inner.facts
        self.ignores_conditions = False

    @property
    def meter(self) -> Meter:
        return self.inner.meter

    @property
    def url(self) -> str:
        return self.inner.url

    @contextlib.contextmanager
    def _around(self, verb: str, key: str) -> Iterator[None]:
        self.log.append((verb, key))
        if verb in self.before:
            self.before[verb](key)
        yield
        if verb in self.after:
            self.after[verb](key)

    def count(self, verb: str, *, ours: bool = False) -> int:
        """Requests of a verb for user keys (or, `ours`, for all keys)."""
        return sum(1 for v, key in self.log if v == verb and (ours or not is_ours(key)))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._around("list", prefix):
            yield from self.inner.list(prefix)

    def head(self, key: str) -> ObjectInfo:
        with self._around("head", key):
            return self.inner.head(key)

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        with self._around("get", key):
            return self.inner.get(key, into, if_version=if_version)

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        with self._around("get_range", key):
            return self.inner.get_range(key, start, length, if_version=if_version)

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        with self._around("put", key):
            return self.inner.put(key, body, meta=meta, only_if=ANY if self.ignores_conditions else only_if)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        with self._around("copy", source):
            return self.inner.copy(source, target, if_version=if_version, only_if=only_if)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        with self._around("delete", key):
            self.inner.delete(key, if_version=if_version)

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        with self._around("start_upload", key):
            return self.inner.start_upload(key, meta=meta)

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        with self._around("put_part", key):
            return self.inner.put_part(key, upload, number, body)

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        with self._around("list_parts", key):
            return self.inner.list_parts(key, upload)

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        with self._around("finish_upload", key):
            return self.inner.finish_upload(key, upload, parts, only_if=only_if)

    def abort_upload(self, key: str, upload: str) -> None:
        with self._around("abort_upload", key):
            self.inner.abort_upload(key, upload)

    def close(self) -> None:
        self.inner.close()


class Died(BaseException):
    """SIGKILL, as far as this process can play it."""


class Rig:
    """A node. `work()` lets it do everything it has to do; `next_life()` is the same node after a SIGKILL."""

    def __init__(
        self,
        top: Path,
        *,
        name: str = "node",
        bucket: str = "bucket",
        clock: Clock | None = None,
        facts: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> None:
        self.top = top
        self.name = name
        self.data = top / name / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.clock = clock or Clock()
        (top / bucket).mkdir(exist_ok=True)
        self.bucket = top / bucket
        self.limits = limits
        self.facts = dict(facts or {})
        self.kernel = "boot 1"  # another value: the machine itself was started again
        self._boot()

    def _boot(self) -> None:
        self.store = Hooked(FileStore(self.bucket, meter=Meter()))
        self.store.facts = replace(self.store.facts, **self.facts)
        self.files = DiskFiles(self.data, self.clock)
        self.journal_path = self.top / self.name / "journal.sqlite"
        self.journal = Journal.at(self.journal_path)
        self.intents = Intents(self.journal_path.with_suffix(".intents"))
        store = Guarded(self.store)
        self.lease = Lease(store, self.clock, self.name, f"{self.name}-{random.getrandbits(32):08x}")
        self.jobs: deque[Callable[[], Outcome]] = deque()
        world = World(
            self.files,
            store,
            self.clock,
            self.name,
            self.lease.permit,
            confirm=self.lease.check,
            born_at=self.clock.now(),
            note_upload=lambda path, note: self.engine.post(Noted(path, note)),
            intend=self.intents.add,
        )
        self.engine = Engine(
            files=self.files,
            store=store,
            journal=self.journal,
            clock=self.clock,
            lease=self.lease,
            intents=self.intents,
            world=world,
            parking=parked(world),
            submit=lambda path, job: self.jobs.append(job),
            limits=Limits(**self.limits),
            boot=self.kernel,
            new_id=lambda: f"folder-{random.getrandbits(64):x}",
        )

    def next_life(self) -> Rig:
        """The process died; the same node starts again on its folder and journal."""
        self.journal.close()
        self.intents.close()
        self._boot()
        return self

    def step(self) -> float:
        """One turn and every job it gave out."""
        wait_s = self.engine.turn()
        while self.jobs:
            self.engine.post(self.jobs.popleft()())
            self.clock.added_s += JOB_S
            wait_s = 0.0
        return wait_s

    def work(self, *, until: Callable[[], object] | None = None, at_most_s: float = 300.0) -> Rig:
        """Turn until idle (or `until`), with time passing as fast as it can."""
        end_s = self.clock.added_s + at_most_s
        done = until or (lambda: self.engine.is_idle() and self.engine.walks_done > 0)
        for _ in range(20_000):
            wait_s = self.step()
            if done():
                return self
            if self.clock.added_s > end_s:
                break
            if wait_s > 0:
                self.clock.added_s += min(wait_s, 5.0)
        raise AssertionError(f"not done: {self.status()}")

    def sync(self) -> Rig:
        """Look at everything anew and bring it into the bucket."""
        if self.engine.restored:
            self.engine.rescan()
        return self.work()

    def rest(self, seconds: float) -> Rig:
        """Let time pass; the engine turns whenever it wants to."""
        end_s = self.clock.added_s + seconds
        while self.clock.added_s < end_s:
            wait_s = self.step()
            self.clock.added_s = min(end_s, self.clock.added_s + max(wait_s, 0.01))
        self.step()
        return self

    def status(self) -> Status:
        return status_of(self.engine)

    def write(self, path: str, text: str | bytes) -> Path:
        """A user's file."""
        where = self.data / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(text.encode() if isinstance(text, str) else text)
        return where

    def read(self, path: str) -> str:
        return (self.data / path).read_text()

    def objects(self, *, ours: bool = False) -> set[str]:
        """Keys in the bucket (or, `ours`, below `.preflight/`)."""
        return {o.key for o in self.store.inner.list("") if is_ours(o.key) == ours}

    def object(self, key: str) -> bytes | None:
        """An object's content, None if it is not there."""
        body = io.BytesIO()
        try:
            self.store.inner.get(key, body)
        except NotFound:
            return None
        return body.getvalue()

    def foreign(self, key: str, text: str | bytes) -> None:
        """Another program writes to the bucket."""
        body = text.encode() if isinstance(text, str) else text
        self.store.inner.put(key, body, meta={})
