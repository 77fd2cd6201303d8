"""A clock that stands still until told."""

from __future__ import annotations


class StillClock:
    """`now` and `monotonic` start at different values, so that nobody can take one for the other."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.passed_s

    def monotonic(self) -> float:
        return 5_000.0 + self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
