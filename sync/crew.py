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


FIRST = 16  # threads for paths, as they are needed: what a near bucket and a residential line can use
FAR_S = 0.05  # past this a job mostly waits for a distant server: more of them wait side by side
EXPRESS = 2  # threads for what must not wait behind transfers: lease, listing, placing
SMALL_BYTES = 64 * 1024  # a save of this size never waits for a large upload's bandwidth


class Crew:
    """Threads for paths, `workers` at most, and a few for everything that is not about one path."""

    def __init__(self, workers: int, post: Callable[[Outcome], None], clock: Clock) -> None:
        self._most = workers
        self._clock = clock
        self._lock = threading.Lock()
        self._open = 0  # jobs for paths that were handed in and are not done
        self._mean_s: float | None = None  # what one of them takes, lately; at first what the lease took
        self._jobs: _Queue = queue.SimpleQueue()
        self._express: _Queue = queue.SimpleQueue()
        self._post = post
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work."""
        for number in range(EXPRESS):
            self._begin(self._express, f"sync-express-{number}")

    def submit(self, path: str, job: Callable[[], Outcome]) -> None:
        """Queue a job for `path` ("": for none in particular); its outcome is posted."""
        if not path:
            self._express.put((path, job))
            return
        with self._lock:
            self._open += 1
            busy, mean_s = self._open, self._mean_s or 0.0
        self._jobs.put((path, job))
        threads = len(self._threads) - EXPRESS
        if threads < min(busy, self._most) and (threads < FIRST or mean_s >= FAR_S):
            self._begin(self._jobs, f"sync-worker-{threads}")

    def _begin(self, jobs: _Queue, name: str) -> None:
        thread = threading.Thread(target=self._work, args=(jobs,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

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
            began_s = self._clock.monotonic()
            try:
                outcome = job()
            except Exception as error:
                log.exception("A job failed in a way that it should not", extra={"path": path})
                outcome = Failed(path, SyncError(f"Internal error: {type(error).__name__}", where=path))
            took_s = self._clock.monotonic() - began_s
            with self._lock:
                mean_s = took_s if self._mean_s is None else self._mean_s
                self._open -= bool(path)
                self._mean_s = mean_s + (took_s - mean_s) / FIRST if path else mean_s
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
