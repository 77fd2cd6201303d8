"""Simulated time, and who acts when: exactly one fiber runs, and the seed decides which.

A fiber is a greenlet: it only moves while it holds the baton, so the engine's ordinary blocking code can be stopped
at any request and any file operation, for a while or for ever, without being written for it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from greenlet import getcurrent, greenlet

EPOCH_S = 1_800_000_000.0  # wall time at the world's beginning
GATE_S = 0.0002  # what a file operation takes


class Crash(BaseException):
    """The process is gone: nothing below may catch it, and nothing that runs while it unwinds has an effect."""


class World:
    """A clock and a calendar."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.trace: list[str] = []
        self.fibers: list[Fiber] = []
        self.current: Fiber | None = None
        self._calendar: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._horizon_s = 0.0

    def note(self, line: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now_s:.4f} {line}")

    def clock_ns(self) -> int:
        """Wall time in nanoseconds."""
        return int((EPOCH_S + self.now_s) * 1e9)

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        """Have `what` done at a moment (now, if that has passed)."""
        self._order += 1
        heapq.heappush(self._calendar, (max(when_s, self.now_s), self._order, what))

    def is_free_until(self, when_s: float) -> bool:
        """Whether nobody has anything to do before `when_s`."""
        return when_s <= self._horizon_s and (not self._calendar or self._calendar[0][0] > when_s)

    def run(self, until_s: float) -> None:
        """Let everybody act up to a moment."""
        self._horizon_s = until_s
        while self._calendar and self._calendar[0][0] <= until_s:
            when_s, _, what = heapq.heappop(self._calendar)
            self.now_s = max(self.now_s, when_s)
            what()
        self.now_s = max(self.now_s, until_s)

    def close(self) -> None:
        """End every fiber."""
        for fiber in self.fibers:
            fiber.kill()


class Fiber:
    """A greenlet that holds the baton only between `resume` and `park`."""

    def __init__(self, world: World, name: str, body: Callable[[], None]) -> None:
        self._world = world
        self._body = body
        self._greenlet = greenlet(self._main)
        self.name = name
        self._parked = 0  # which park this is: a resume that was meant for an earlier one does nothing
        self.is_over = False
        self.is_killed = False
        self.error: BaseException | None = None
        world.fibers.append(self)

    def start(self) -> None:
        """Run from now on."""
        self._world.at(self._world.now_s, self.resume)

    def resume(self) -> None:
        """Give the baton; returns when the fiber parked or ended."""
        if self.is_over or self.is_killed:
            return
        before, self._world.current = self._world.current, self
        self._parked += 1
        self._greenlet.parent = getcurrent()
        self._greenlet.switch()
        self._world.current = before

    def wake(self) -> None:
        """Resume it soon, if it is parked still."""
        parked = self._parked
        self._world.at(self._world.now_s, lambda: self._resume_if(parked))

    def park_until(self, when_s: float) -> None:
        """Inside the fiber: let the others act until then. Raises Crash when this one is killed."""
        if self.is_killed:
            raise Crash
        if self._world.is_free_until(when_s):
            self._world.now_s = max(self._world.now_s, when_s)
            return
        parked = self._parked
        self._world.at(when_s, lambda: self._resume_if(parked))
        self.park()

    def park(self) -> None:
        """Inside the fiber: wait for somebody's `wake`."""
        if self.is_killed:
            raise Crash
        self._greenlet.parent.switch()

    def kill(self) -> None:
        """From outside: the fiber never acts again; what unwinds finds a dead world."""
        self.is_killed = True
        if self._greenlet:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw(Crash)

    def _resume_if(self, parked: int) -> None:
        if parked == self._parked:
            self.resume()

    def _main(self) -> None:
        try:
            self._body()
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 - a bug of the engine: the lifetime reports it
            self.error = error
        self.is_over = True
