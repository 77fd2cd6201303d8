"""A `Store` in memory that keeps the whole contract, and breaks the network's promises by plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from sync.errors import Corrupt, DiskFull, PreconditionFailed, SyncError, Throttled, Transient, Unstable
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, Read, StoreFacts, Write, Writes
from sync.stores.together import Arrived, Written
from tests.model.simulation.bucket import Bucket, Version
from tests.model.simulation.faults import Fault, Network

T = TypeVar("T")
PAGE = 3  # keys of a listing that come from one moment
TIMEOUT_S = 10.0
SLOW_S = 7.0
PATIENCE_S = 60.0  # a server gives up a request whose sender stalls (S3 after 20 s, nginx after 60 s)
REQUEST_S = 0.03
ANSWER_S = 1e-6


class Actor(Protocol):
    """Who sends the requests: a node's life, or a person at the console."""

    name: str
    sent_at_s: float  # when its last request left

    @property
    def looked(self) -> dict[str, float]:
        """When the server last told it what lies under a key."""
        ...

    def gate(self, label: str) -> None:
        """Called before and after everything that touches the world: others may act now, or this one dies."""
        ...

    def spend(self, seconds: float) -> None:
        """Time passes for everybody."""
        ...

    def now_s(self) -> float:
        """Simulated seconds since the world began."""
        ...

    def later(self, after_s: float, what: Callable[[], None]) -> None:
        """Run `what` in `after_s` seconds, whatever became of this actor."""
        ...

    def body(self, path: Path) -> bytes:
        """The content of a local file, read as the store would."""
        ...


class Bystander:
    """An actor that nothing happens to: for people at the console and for plain tests."""

    def __init__(self, name: str, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self.name = name
        self.sent_at_s = 0.0
        self.looked: dict[str, float] = {}
        self.now_s = now_s  # type: ignore[method-assign]

    def gate(self, label: str) -> None: ...

    def spend(self, seconds: float) -> None: ...

    def now_s(self) -> float:
        return 0.0

    def later(self, after_s: float, what: Callable[[], None]) -> None:
        what()

    def body(self, path: Path) -> bytes:
        return path.read_bytes()


class MemoryStore:
    """One client's view of a bucket."""

    def __init__(
        self,
        bucket: Bucket,
        actor: Actor,
        network: Network,
        *,
        epoch_s: float = 0.0,
        part_bytes: int = 8 * 1024**2,
        max_put_bytes: int = 5 * 1024**3,
        in_order: bool = True,
        together: bool = False,
    ) -> None:
        self.bucket = bucket
        self.facts = StoreFacts(
            provider="memory",
            writes=bucket.writes,
            delete_if_match=bucket.writes is Writes.FULL,
            etag_is_md5=bucket.md5_tags,
            lists_in_order=in_order,
            together=together,
            part_bytes=part_bytes,
            max_put_bytes=max_put_bytes,
        )
        self.meter = Meter()
        self.url = "memory://bucket/prefix"
        self._actor = actor
        self._network = network
        self._epoch_s = epoch_s

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if self.facts.lists_in_order:
            after = ""
            while page := self._ask("list", prefix, lambda after=after: self._next_page(prefix, after)):
                yield from page
                after = page[-1].key
            return
        keys = [key for key in self.bucket.live if key.startswith(prefix)]
        keys.sort(key=lambda key: hashlib.md5(key.encode(), usedforsecurity=False).digest())
        for start in range(0, len(keys) or 1, PAGE):
            yield from self._ask("list", prefix, lambda start=start: self._page(keys[start : start + PAGE]))

    def head(self, key: str) -> ObjectInfo:
        def act() -> Version:
            self._actor.looked[key] = self._actor.now_s()
            return self.bucket.find(key)

        return self._info(self._ask("head", key, act))

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        version, fault = self._read(key, if_version)
        half = len(version.content) // 2
        if fault is Fault.CUT:
            into.write(version.content[:half])
            raise Transient("the connection was reset in the middle of the body", where=key)
        if fault is Fault.FLIPPED:
            into.write(version.content[:-1] + b"?")
            raise Corrupt("the body does not match its checksum", where=key)
        try:
            into.write(version.content[:half])
            self._actor.gate("get+")
            into.write(version.content[half:])
        except OSError as error:
            raise DiskFull("the disk is full", where=key) from error
        version.read_by.add(self._actor.name)
        self.meter.add_bytes(received=len(version.content))
        return self._info(version)

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        version, fault = self._read(key, if_version)
        if fault is Fault.CUT:
            raise Transient("the connection was reset in the middle of the body", where=key)
        if fault is Fault.FLIPPED:
            raise Corrupt("the body does not match its checksum", where=key)
        version.read_by.add(self._actor.name)
        piece = version.content[start : start + length]
        self.meter.add_bytes(received=len(piece))
        return piece

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        try:
            content = body if isinstance(body, bytes) else self._actor.body(body)
        except FileNotFoundError as error:
            raise Unstable("the file is gone", where=key) from error
        return self._info(self._ask("put", key, lambda: self._write(key, content, meta, only_if, "put"), len(content)))

    def put_many(self, writes: Sequence[Write]) -> Written:
        asked = [
            (write.key, partial(self._write, write.key, write.body, write.meta, write.only_if, "put"), len(write.body))
            for write in writes
        ]
        for number, result in self._ask_many("put", asked):
            yield number, result if isinstance(result, SyncError) else self._info(result)

    def get_many(self, reads: Sequence[Read]) -> Arrived:
        def act(read: Read) -> Version:
            self._actor.looked[read.key] = self._actor.now_s()
            return self._of_version(read.key, read.if_version)

        for number, result in self._ask_many("get", [(read.key, partial(act, read), 0) for read in reads]):
            if isinstance(result, SyncError):
                yield number, result
                continue
            result.read_by.add(self._actor.name)
            self.meter.add_bytes(received=len(result.content))
            yield number, (self._info(result), result.content)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        def act() -> Version:
            found = self.bucket.find(source)
            if if_version is not None and found.tag != if_version:
                raise PreconditionFailed("the source is not the version that was named", where=source)
            return self._write(target, found.content, found.meta, only_if, "copy", found)

        return self._info(self._ask("copy", target, act))

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        self._ask(
            "delete",
            key,
            lambda: self.bucket.remove(key, writer=self._actor.name, at_s=self._actor.now_s(), if_version=if_version),
        )

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        return self._ask("start", key, lambda: self.bucket.start(key, meta))

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        def act() -> Part:
            self.bucket.upload(key, upload).parts[number] = body
            return Part(number, f'"p{number}"', len(body))

        return self._ask("part", key, act, len(body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        return self._ask("list_parts", key, lambda: self.bucket.parts(key, upload))

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        def act() -> Version:
            found = self.bucket.upload(key, upload)
            content = b"".join(found.parts[part.number] for part in sorted(parts, key=lambda part: part.number))
            version = self._write(key, content, found.meta, only_if, "finish")
            self.bucket.uploads.pop(upload, None)
            return version

        return self._info(self._ask("finish", key, act))

    def abort_upload(self, key: str, upload: str) -> None:
        self._ask("abort", key, lambda: self.bucket.uploads.pop(upload, None))

    def close(self) -> None:
        """Nothing is held open."""

    def _write(
        self,
        key: str,
        content: bytes,
        meta: Mapping[str, str],
        only_if: Precondition,
        how: str,
        source: Version | None = None,
    ) -> Version:
        return self.bucket.write(
            key,
            content,
            meta,
            writer=self._actor.name,
            at_s=self._actor.now_s(),
            how=how,
            only_if=only_if,
            source=source,
        )

    def _read(self, key: str, if_version: str | None) -> tuple[Version, Fault | None]:
        self._actor.gate(f"get {key}")
        self._actor.spend(REQUEST_S)
        fault = self._network.meet("get", self._actor.now_s())
        self._fail("get", key, fault)
        self._actor.looked[key] = self._actor.now_s()
        self.meter.count("get")
        return self._of_version(key, if_version), fault

    def _of_version(self, key: str, if_version: str | None) -> Version:
        version = self.bucket.find(key)
        if if_version is not None and version.tag != if_version:
            raise PreconditionFailed("the object is not the version that was named", where=key)
        return version

    def _next_page(self, prefix: str, after: str) -> list[ObjectInfo]:
        return self._page(sorted(key for key in self.bucket.live if key.startswith(prefix) and key > after)[:PAGE])

    def _page(self, keys: Sequence[str]) -> list[ObjectInfo]:
        live = [self.bucket.live[key] for key in keys if key in self.bucket.live]
        self._actor.looked.update((version.key, self._actor.now_s()) for version in live)
        return [ObjectInfo(v.key, len(v.content), v.tag, self._epoch_s + v.at_s) for v in live]

    def _ask(self, verb: str, key: str, act: Callable[[], T], sent: int = 0) -> T:
        """One request: others may act before it, and between its effect and its answer."""
        sent_at_s = self._actor.now_s()  # a pause from here on holds a request that is on its way

        def arrive() -> T:
            self._actor.sent_at_s = sent_at_s
            return act()

        self._actor.gate(f"{verb} {key}")
        self._actor.spend(REQUEST_S)
        fault = self._network.meet(verb, self._actor.now_s())
        self.meter.count(verb, sent=sent)
        if fault is Fault.LATE:
            self._actor.later(self._network.rng.uniform(1.0, 10.0), lambda: _quietly(arrive))
        self._fail(verb, key, fault)
        if self._actor.now_s() > sent_at_s + PATIENCE_S:  # the process was stopped meanwhile
            raise Transient("the connection was closed", where=key)
        answer = arrive()
        self._actor.gate(f"{verb}+ {key}")
        if fault is Fault.UNANSWERED:
            self._actor.spend(TIMEOUT_S)
            raise Transient("no answer came in time", where=key)
        return answer

    def _ask_many(
        self, verb: str, asked: Sequence[tuple[str, Callable[[], T], int]]
    ) -> Iterator[tuple[int, T | SyncError]]:
        """Several requests that leave one after the other, and whose answers come as they may.

        What has left arrives, whatever becomes of its sender. Each one meets the network for itself.
        """
        results: dict[int, T | SyncError] = {}
        answers: list[tuple[float, int, SyncError | None]] = []

        def arrive(number: int, act: Callable[[], T], sent_at_s: float) -> None:
            self._actor.sent_at_s = sent_at_s
            try:
                results[number] = act()
            except SyncError as error:
                results[number] = error

        for number, (key, act, sent) in enumerate(asked):
            self._actor.gate(f"{verb}.. {key}")
            sent_at_s = self._actor.now_s()
            self.meter.count(verb, sent=sent)
            fault = self._network.meet(verb, sent_at_s)
            takes_s = self._network.rng.uniform(0.5, 2.0) * REQUEST_S + (SLOW_S if fault is Fault.SLOW else 0.0)
            if fault not in (Fault.LOST, Fault.SLOW_DOWN, Fault.CUT, Fault.FLIPPED):
                later_s = self._network.rng.uniform(1.0, 10.0) if fault is Fault.LATE else takes_s
                self._actor.later(later_s, partial(arrive, number, act, sent_at_s))
            trouble = _trouble(key, fault)
            is_heard = fault not in (Fault.LOST, Fault.UNANSWERED, Fault.LATE)
            answers.append((sent_at_s + (takes_s if is_heard else TIMEOUT_S), number, trouble))
        for at_s, number, trouble in sorted(answers, key=lambda answer: answer[:2]):
            self._actor.spend(max(0.0, at_s - self._actor.now_s()) + ANSWER_S)  # what arrives until then has arrived
            self._actor.gate(f"{verb}+ {asked[number][0]}")
            yield number, trouble or results[number]

    def _fail(self, verb: str, key: str, fault: Fault | None) -> None:
        if fault in (Fault.LOST, Fault.LATE):
            self._actor.spend(TIMEOUT_S)
            raise Transient("no answer came in time", where=key)
        if fault is Fault.SLOW_DOWN:
            raise Throttled("slow down", where=key, after_s=1.0)
        if fault is Fault.SLOW:
            self._actor.spend(SLOW_S)
            self._actor.gate(f"{verb} slow {key}")
        if fault in (Fault.CUT, Fault.FLIPPED) and verb in ("head", "list", "list_parts"):
            raise Transient("the answer was cut", where=key)

    def _info(self, version: Version) -> ObjectInfo:
        return ObjectInfo(
            version.key,
            len(version.content),
            version.tag,
            self._epoch_s + version.at_s,
            dict(version.meta),
            version.md5,
        )


def _trouble(key: str, fault: Fault | None) -> SyncError | None:
    """What its sender learns of a request that met `fault`."""
    if fault in (Fault.LOST, Fault.UNANSWERED, Fault.LATE):
        return Transient("no answer came in time", where=key)
    if fault is Fault.SLOW_DOWN:
        return Throttled("slow down", where=key, after_s=1.0)
    if fault is Fault.CUT:
        return Transient("the connection was reset in the middle of the body", where=key)
    if fault is Fault.FLIPPED:
        return Corrupt("the body does not match its checksum", where=key)
    return None


def _quietly(act: Callable[[], object]) -> None:
    """A request whose sender gave up: its refusal reaches nobody."""
    try:
        act()
    except (PreconditionFailed, LookupError):
        return
    except Exception as error:  # noqa: BLE001 - NotFound and Unsupported: nobody listens
        del error
