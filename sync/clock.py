"""Time as an argument: the only file of `sync` that reads a clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the engine may know of time."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC: for display, object metadata and trash dates only."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards and go on during suspend (CLOCK_BOOTTIME): for every duration."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a simulated clock advances itself instead."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
