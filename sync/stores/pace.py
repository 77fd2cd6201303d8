"""How many requests may be in flight: fewer as soon as the server asks for it, slowly more again."""

from __future__ import annotations

from threading import Condition


class Pace:
    """Additive increase, multiplicative decrease of the number of requests in flight."""

    def __init__(self, widest: int) -> None:
        self._changed = Condition()
        self._widest = float(widest)
        self._window = float(widest)
        self._flying = 0
        self._waiting = 0

    @property
    def window(self) -> float:
        """How many requests may be in flight now."""
        return self._window

    def enter(self, most: int = 1) -> int:
        """Wait for a place; how many of `most` were free then and are taken."""
        with self._changed:
            while (free := max(1, int(self._window)) - self._flying) <= 0:
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            taken = min(free, most)
            self._flying += taken
            return taken

    def leave(self, *, throttled: bool) -> None:
        """Give the place back; a throttled request halves the window, a served one widens it slowly."""
        with self._changed:
            self._flying -= 1
            if throttled:
                self._window = max(1.0, self._window / 2)
            else:
                self._window = min(self._widest, self._window + 1.0 / self._window)
            if self._waiting:
                self._changed.notify_all()
