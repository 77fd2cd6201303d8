"""How long a thread was ready to run and had no CPU: a slow result then says more about others than about the path."""

from __future__ import annotations

import threading
from collections.abc import Callable

STARVED = 0.2  # share of the time; an idle node shows below 0.02, two cores with eight busy processes above 0.5


def thread_wait_s() -> float:
    """Seconds that the calling thread has waited for a CPU so far; 0.0 where the kernel does not count it.

    Linux: the second number of `/proc/thread-self/schedstat`, nanoseconds on the run queue (Documentation/scheduler/
    sched-stats).
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class CpuWait:
    """The share of measured time in which the slowest of the threads at work could not run."""

    def __init__(self, wait_s: Callable[[], float] = thread_wait_s) -> None:
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._worst_s = 0.0
        self._waited_s = 0.0
        self._took_s = 0.0

    def call(self, action: Callable[[], None]) -> None:
        """Do it in the calling thread and count what that thread waited."""
        before_s = self._wait_s()
        action()
        waited_s = self._wait_s() - before_s
        with self._lock:
            self._worst_s = max(self._worst_s, waited_s)

    def round_took(self, took_s: float) -> None:
        """The calls so far were one round of `took_s` seconds: its slowest thread decided how long it took."""
        with self._lock:
            self._waited_s += min(self._worst_s, took_s)
            self._took_s += took_s
            self._worst_s = 0.0

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self._waited_s / self._took_s if self._took_s else 0.0

    @property
    def starved(self) -> bool:
        """Whether a slow result would say that the CPU was taken, not that the path is slow."""
        return self.share >= STARVED
