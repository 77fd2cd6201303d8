"""The workers: threads that run jobs and post outcomes. A simulation has its own and needs none of this."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sync.clock import Clock
from sync.errors import SyncError
from sync.work import Failed, Outcome, Several

log = logging.getLogger(__name__)

_Task = tuple[str, Callable[[], Outcome]]
_Queue = queue.SimpleQueue[_Task | None]


FIRST = 16  # threads for paths, as they are needed: what a near bucket and a residential line can use
LIGHT = 8  # of them for small jobs, each of which does several
FAR_S = 0.05  # past this a job mostly waits for a distant server: more of them wait side by side
READY = 4  # threads for whatever comes: a small save does not wait for the one before it
ABREAST = 8  # small jobs that one thread does at once
EXPRESS = 2  # threads for what must not wait behind transfers: lease, listing, placing
SMALL_BYTES = 64 * 1024  # a save of this size never waits for a large upload's bandwidth


class Crew:
    """Threads for paths, `workers` at most, and a few for everything that is not about one path."""

    def __init__(self, workers: int, post: Callable[[Outcome], None], clock: Clock) -> None:
        self._most = workers
        self._clock = clock
        self._lock = threading.Lock()
        self._open = 0  # jobs for paths that were handed in and are not done
        self._load = 0.0  # the workers that they can use
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
            self._load += _load(job)
            busy, load, mean_s = self._open, self._load, self._mean_s or 0.0
        self._jobs.put((path, job))
        threads = len(self._threads) - EXPRESS
        wanted = max(min(busy, READY), math.ceil(load))
        near = LIGHT if isinstance(job, Several) else FIRST
        if threads < min(wanted, self._most) and (threads < near or mean_s >= FAR_S):
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
        kept: list[_Task | None] = []  # taken from the queue, and not of the kind of the ones before
        while (task := kept.pop() if kept else jobs.get()) is not None:
            tasks = [task]
            while isinstance(task[1], Several) and len(tasks) < ABREAST and not kept:
                try:
                    more = jobs.get_nowait()
                except queue.Empty:
                    break
                if more is not None and task[1].is_like(more[1]):
                    tasks.append(more)
                else:
                    kept.append(more)
            self._do(tasks)

    def _do(self, tasks: Sequence[_Task]) -> None:
        began_s: float | None = self._clock.monotonic()
        for number, outcome in _outcomes(tasks):
            path, job = tasks[number]
            with self._lock:
                if path:
                    self._open -= 1
                    self._load -= _load(job)
                if began_s is not None:  # what came beside the first waited for no answer of its own
                    took_s = self._clock.monotonic() - began_s
                    if self._mean_s is None:
                        self._mean_s = took_s
                    elif path:
                        self._mean_s += (took_s - self._mean_s) / FIRST
            began_s = None
            self._post(outcome)


def _load(job: Callable[[], Outcome]) -> float:
    return 1 / ABREAST if isinstance(job, Several) else 1.0


def _outcomes(tasks: Sequence[_Task]) -> Iterator[tuple[int, Outcome]]:
    """(number, outcome) of each, as they come; whatever goes wrong, each has one."""
    left = dict(enumerate(path for path, _ in tasks))
    first = tasks[0][1]
    try:
        if isinstance(first, Several):
            for number, outcome in first.together([job for _, job in tasks[1:] if isinstance(job, Several)]):
                del left[number]
                yield number, outcome
        else:
            outcome = first()
            del left[0]
            yield 0, outcome
    except Exception as error:
        log.exception("A job failed in a way that it should not", extra={"path": next(iter(left.values()), "")})
        for number, path in left.items():
            yield number, Failed(path, SyncError(f"Internal error: {type(error).__name__}", where=path))


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
