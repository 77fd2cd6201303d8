"""One writer a prefix: a small object with an epoch, which a newer node takes over and an older one then respects.

The record doubles as the list of what its node had not saved yet, so that the next node can name it. Upkeep goes by
time, never by save: at most one request in `RENEW_S` while there is something to write.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sync.clock import Clock
from sync.errors import LeaseLost, NotFound, PreconditionFailed, Transient
from sync.names import LEASE
from sync.stores import ABSENT, ObjectInfo, Store, Writes, only_over

RENEW_S = 15.0
TERM_S = 20.0  # past this without a confirmation nothing is written: the process may have been paused
MOST_NAMED = 1000  # paths in the record: about 100 KB
RACES = 8
RACE_S = 1.0  # within which two nodes that start together have both written


class Unconfirmed(Transient):
    """The last confirmation is too old for a write (the process may have been paused): confirm, then write."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """What the record said before this node took it over."""

    machine: str
    pending: tuple[str, ...]
    pending_count: int
    modified: float  # by the server's clock
    was_released: bool


class Lease:
    """This node's claim. `permit` may be called from any thread, the rest from one at a time."""

    def __init__(self, store: Store, clock: Clock, machine: str, instance: str) -> None:
        self._store = store
        self._clock = clock
        self._machine = machine
        self._instance = instance
        self._lock = threading.Lock()
        self._version = ""
        self._confirmed_s: float | None = None
        self._lost: LeaseLost | None = None
        self.epoch = 0
        self.may_have_slipped = False  # somebody may have held it between a look and our write: read by the engine
        self.predecessor: Predecessor | None = None

    @property
    def is_lost(self) -> bool:
        """Whether a newer node has taken over; this never becomes false again."""
        return self._lost is not None

    def permit(self) -> None:
        """Return if this node may write right now.

        Raises:
            LeaseLost: a newer node took over.
            Unconfirmed: the last confirmation is too old; renew first.
        """
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._confirmed_s is None or self._clock.monotonic() - self._confirmed_s > TERM_S:
                raise Unconfirmed("The lease must be confirmed before the next write")

    def is_due(self) -> bool:
        """Whether it must be confirmed before more is written."""
        with self._lock:
            return self._confirmed_s is None or self._clock.monotonic() - self._confirmed_s >= RENEW_S

    def take(self) -> None:
        """Become the newest holder, whoever held it before."""
        for _ in range(RACES):
            started_s = self._clock.monotonic()
            info, record = self._read()
            epoch = int(record.get("epoch", 0)) + 1
            if info is not None and self.predecessor is None:
                self.predecessor = _predecessor(info, record)
            only_if = ABSENT if info is None else only_over(info.version)
            try:
                done = self._store.put(LEASE, self._record(epoch, (), 0), meta={}, only_if=only_if)
                if self._store.facts.writes is not Writes.FULL:
                    # Another node may have taken it and written before ours landed: it saw nobody to give way to.
                    self.may_have_slipped |= self._clock.monotonic() - started_s > RACE_S
                    if not self._won(epoch):
                        continue
            except PreconditionFailed:
                continue  # ours after all (a lost answer), or another node was faster: the next round sees
            with self._lock:
                self.epoch = epoch
                self._version = done.version
                self._confirmed_s = started_s
            return
        raise Transient("The lease keeps changing hands", where=LEASE)

    def _won(self, epoch: int) -> bool:
        """Where the server cannot compare: whether the record is still ours after others had time to overwrite it.

        Raises:
            LeaseLost: of two nodes that started in the same moment, the other one stays.
        """
        self._clock.sleep(RACE_S)
        _, record = self._read()
        other = str(record.get("instance", ""))
        if other == self._instance and record.get("epoch") == epoch:
            return True
        if other > self._instance:
            self._lose(record)
        return False

    def _lose(self, record: dict[str, Any]) -> NoReturn:
        lost = LeaseLost(
            f"The node {record.get('machine', '?')} took this folder over (epoch {record.get('epoch', '?')})",
            where=LEASE,
            hint="stop one of the two nodes; what was not saved here is parked under .preflight/stranded",
        )
        with self._lock:
            self._lost = lost
        raise lost

    def renew(self, pending: Sequence[str] = (), count: int = 0, *, released: bool = False) -> None:
        """Confirm the claim and record what is not saved yet. One request.

        Raises:
            LeaseLost: a newer node took over.
        """
        started_s = self._clock.monotonic()
        body = self._record(self.epoch, pending, count, released=released)
        try:
            if self._store.facts.writes is Writes.FULL:
                done = self._store.put(LEASE, body, meta={}, only_if=only_over(self._version))
            else:
                self._compare()
                done = self._store.put(LEASE, body, meta={})
                if self._clock.monotonic() - started_s > RACE_S:  # long enough for another node to take it and to write
                    self.may_have_slipped = True
        except PreconditionFailed:
            done = self._compare()
        except NotFound:
            done = self._store.put(LEASE, body, meta={}, only_if=ABSENT)
        with self._lock:
            self._version = done.version
            self._confirmed_s = started_s

    def check(self) -> None:
        """Look whether the claim still holds: somebody else was seen writing. One request, from any thread.

        Raises:
            LeaseLost: a newer node took over.
        """
        self._compare()

    def _compare(self) -> ObjectInfo:
        """The record as it is, if it is still ours (an answer was lost, or the server cannot compare)."""
        info, record = self._read()
        if info is None:
            raise NotFound("The lease is gone", where=LEASE)
        if record.get("instance") != self._instance or record.get("epoch") != self.epoch:
            self._lose(record)
        return info

    def _read(self) -> tuple[ObjectInfo | None, dict[str, Any]]:
        body = io.BytesIO()
        try:
            info = self._store.get(LEASE, body)
        except NotFound:
            return None, {}
        try:
            record = json.loads(body.getvalue())
        except ValueError:
            record = {}
        return info, record if isinstance(record, dict) else {}

    def _record(self, epoch: int, pending: Sequence[str], count: int, *, released: bool = False) -> bytes:
        named = list(pending)[:MOST_NAMED]
        record = {
            "epoch": epoch,
            "machine": self._machine,
            "instance": self._instance,
            "at": self._clock.now(),
            "pending": named,
            "pending_count": max(count, len(named)),
            "released": released,
        }
        return json.dumps(record, sort_keys=True).encode()


def _predecessor(info: ObjectInfo, record: dict[str, Any]) -> Predecessor:
    pending = record.get("pending")
    names = tuple(str(p) for p in pending) if isinstance(pending, list) else ()
    return Predecessor(
        str(record.get("machine", "")),
        names,
        int(record.get("pending_count", len(names)) or 0),
        info.modified,
        record.get("released") is True,
    )
