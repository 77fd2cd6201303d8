"""What a network does to requests: drawn from the seed, one draw a request."""

from __future__ import annotations

import enum
import random
from collections import Counter
from dataclasses import dataclass


class Fault(enum.Enum):
    """One way for a request to go wrong."""

    LOST = "lost"  # never reached the server
    UNANSWERED = "unanswered"  # the server did it, the answer was lost
    LATE = "late"  # the client gave up, and the server does it later
    SLOW_DOWN = "slow-down"  # 503 with Retry-After
    CUT = "cut"  # a body or a listing ends in the middle
    SLOW = "slow"  # takes long, then succeeds
    FLIPPED = "flipped"  # bytes changed on the way down, noticed by the checksum


WRITES = (Fault.LOST, Fault.UNANSWERED, Fault.LATE, Fault.SLOW_DOWN, Fault.SLOW)
READS = (Fault.LOST, Fault.CUT, Fault.SLOW_DOWN, Fault.SLOW, Fault.FLIPPED)


@dataclass
class Network:
    """Between one node and the bucket. `rate` is the share of requests that meet a fault."""

    rng: random.Random
    rate: float = 0.0
    partition_until_s: float = -1.0  # simulated seconds; until then nothing gets through
    mute_until_s: float = -1.0  # until then deletes are done, and no answer comes back
    seen: Counter[str] | None = None
    without: frozenset[Fault] = frozenset()

    def meet(self, verb: str, at_s: float) -> Fault | None:
        """The fault that this request meets, if any."""
        if at_s < self.partition_until_s:
            self._count("partition")
            return Fault.LOST
        if verb == "delete" and at_s < self.mute_until_s:
            self._count("one way")
            return Fault.UNANSWERED
        if self.rate <= 0 or self.rng.random() >= self.rate:
            return None
        fault = self.rng.choice(READS if verb in ("get", "head", "list", "list_parts") else WRITES)
        if fault in self.without:
            return None
        self._count(fault.value)
        return fault

    def _count(self, name: str) -> None:
        if self.seen is not None:
            self.seen[name] += 1
