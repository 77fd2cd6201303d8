"""The workers: threads that run jobs and post outcomes. A simulation has its own and needs none of this."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sync.clock import Clock
from sync.errors import SyncError
from sync.work import Failed, Outcome

log = logging.getLogger(__name__)

_Queue = queue.SimpleQueue[tuple[str, Callable[[], Outcome]] | None]


EXPRESS = 2  # threads for what must not wait behind transfers: lease, listing, placing
SMALL_BYTES = 64 * 1024  # a save of this size never waits for a large upload's bandwidth


class Crew:
    """A fixed number of threads for paths, and a few for everything that is not about one path."""

    def __init__(self, workers: int, post: Callable[[Outcome], None]) -> None:
        self._jobs: _Queue = queue.SimpleQueue()
        self._express: _Queue = queue.SimpleQueue()
        self._post = post
        self._threads = [
            threading.Thread(target=self._work, args=(self._jobs,), name=f"sync-worker-{n}", daemon=True)
            for n in range(workers)
        ] + [
            threading.Thread(target=self._work, args=(self._express,), name=f"sync-express-{n}", daemon=True)
            for n in range(EXPRESS)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def submit(self, path: str, job: Callable[[], Outcome]) -> None:
        """Queue a job for `path` ("": for none in particular); its outcome is posted."""
        (self._jobs if path else self._express).put((path, job))

    def stop(self, timeout_s: float) -> None:
        """End after the present jobs; what hangs past the deadline dies with the process."""
        for _ in self._threads:
            self._jobs.put(None)
            self._express.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=timeout_s / len(self._threads))

    def _work(self, jobs: _Queue) -> None:
        while (task := jobs.get()) is not None:
            path, job = task
            try:
                outcome = job()
            except Exception as error:
                log.exception("A job failed in a way that it should not", extra={"path": path})
                outcome = Failed(path, SyncError(f"Internal error: {type(error).__name__}", where=path))
            self._post(outcome)


def side_by_side(width: int) -> Callable[[Sequence[Callable[[], Any]]], list[Any]]:
    """A runner of the parts of one large file: `width` at once; the first error stops the rest and is raised."""

    def run(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        if not jobs:
            return []
        with ThreadPoolExecutor(min(width, len(jobs)), thread_name_prefix="sync-part") as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()

    return run


class Bandwidth:
    """A limit in bytes a second, shared by all workers."""

    def __init__(self, clock: Clock, bytes_per_s: int) -> None:
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_s = 0.0

    def spend(self, size: int) -> None:
        """Wait until `size` more bytes keep the average; a small body is only counted."""
        with self._lock:
            now_s = self._clock.monotonic()
            start_s = max(self._free_s, now_s)
            self._free_s = start_s + size / self._bytes_per_s
        if start_s > now_s and size > SMALL_BYTES:
            self._clock.sleep(start_s - now_s)
