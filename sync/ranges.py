"""Objects above one part: fetched in ranges, side by side, and gone on with after a kill."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from sync.errors import Corrupt, PreconditionFailed
from sync.same import md5_of
from sync.stores import ObjectInfo
from sync.tree import Remote
from sync.work import World


def fetch_large(key: str, remote: Remote, temp: str, world: World) -> tuple[ObjectInfo, bytes]:
    """Fetch one version in ranges into the private file; ranges that an earlier life got are kept."""
    store = world.store
    step = store.facts.part_bytes
    size, version = remote.size, remote.version
    lock = threading.Lock()
    count = -(-size // step)
    with world.files.temp(temp, keep=True) as file, world.files.temp(f"{temp}.parts", keep=True) as marks:
        have = marks.read()[:count].ljust(count, b"\0")
        file.truncate(size)
        follower = _Follower(file, lock, step, have)

        def look() -> ObjectInfo:
            info = store.head(key)
            if info.version != version or info.size != size:
                raise PreconditionFailed("The object changed since it was listed", where=key)
            return info

        def get(number: int) -> None:
            length = min(step, size - number * step)
            body = store.get_range(key, number * step, length, if_version=version)
            if len(body) != length:
                raise Corrupt("A range arrived short", where=key)
            with lock:
                file.seek(number * step)
                _write_all(file, body)
                marks.seek(number)
                marks.write(b"\1")
            follower.follow(number, body)

        # What the object says of itself is asked beside its first ranges, which carry its version as their condition.
        jobs: list[Callable[[], Any]] = [look]
        jobs.extend(partial(get, n) for n in range(count) if have[n] != 1)
        info: ObjectInfo = world.side_by_side(jobs)[0]
        follower.finish()
    digest = follower.digest
    stated = md5_of(store, key, info)
    if stated is not None and stated != digest.digest():
        world.files.discard(temp)
        world.files.discard(f"{temp}.parts")
        raise Corrupt("The object arrived damaged", where=key)
    world.files.discard(f"{temp}.parts")
    return info, digest.digest()


class _Follower:
    """The digest of a file whose ranges arrive in any order: it follows them while others are still on their way."""

    def __init__(self, file: Any, lock: threading.Lock, step: int, have: bytes) -> None:
        self._file = file
        self._lock = lock  # of the file's position
        self._step = step
        self._have = {number for number, mark in enumerate(have) if mark}
        self._next = 0
        self._is_busy = False
        self.digest = hashlib.md5()

    def follow(self, number: int, body: bytes | memoryview) -> None:
        """Range `number` is in the file. Whoever finds the next one there takes the digest on, one at a time."""
        with self._lock:
            self._have.add(number)
            if self._is_busy:
                return
            self._is_busy = True
            is_next = number == self._next
            self._next += is_next
        if is_next:  # the usual case: it need not be read again
            self.digest.update(body)
        self._go_on()

    def finish(self) -> None:
        """All ranges are in the file, and nobody else follows."""
        self._go_on()

    def _go_on(self) -> None:
        while True:
            with self._lock:
                if self._next not in self._have:
                    self._is_busy = False
                    return
                self._file.seek(self._next * self._step)
                piece = self._file.read(self._step)
                self._next += 1
            self.digest.update(piece)


def _write_all(file: Any, body: bytes | memoryview) -> None:
    view = memoryview(body)
    while view:
        view = view[file.write(view) :]
