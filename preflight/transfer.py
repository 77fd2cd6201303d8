"""How fast a path carries bytes, from timed transfers: what to send, when to stop, how sure the result is.

Pure but for the clock it is given: the caller moves the bytes. A small object's time is mostly round trip, so
the time of an (almost) empty one is subtracted, and the first transfers are thrown away while TCP warms up.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sync.clock import Clock

Move = Callable[[int, int], float]  # (bytes of each object, objects at once) -> seconds

KIB = 1024
STREAMS = 4  # what the sync engine has under way at the same time, roughly
SMALLEST = 8 * KIB  # of the first round: at 40 kB/s it takes 0.8 s
LEAST = 2 * KIB  # where the line is slower still; less than this is headers
LARGEST = 256 * KIB  # without a limit: four rounds of 4 x 256 KiB stay within the traffic that nobody asked for
LARGEST_EVER = 4096 * KIB
AIM_S = 0.25  # of a round, above the round trip: long enough for TCP, short enough for eight of them
ENOUGH = 4  # samples that accept a good path early
MANY = 12  # samples after which a path near its limit is what it is; 8 are the least for a 99.5 % bound (0.5^8)
EARLY_FACTOR = 1.3  # early accept: the median lies this far above the limit
LEAST_SHARE = 0.3  # of a transfer's time that its bytes must take for it to say anything about the line
MISS_PROBABILITY = 0.005  # the upper bound is below the true median with at most this probability


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was seen. Rates in bytes a second. `high` None: too few samples to bound the median from above."""

    rate: float  # median of `samples`
    samples: tuple[float, ...]  # several streams at once
    single: float  # one stream, median
    high: float | None
    low: float | None
    round_trip_s: float
    moved_bytes: int
    object_bytes: int
    streams: int = STREAMS
    empty_s: float | None = None  # what as many empty transfers at once took; only asked of slow paths

    @property
    def without_requests(self) -> float:
        """The rate if `empty_s` is taken off the transfers instead of one lonely round trip; never below `rate`.

        A server or a machine that is busy takes its time for each of several requests, whatever their size.
        """
        if self.empty_s is None:
            return self.rate
        sent = self.object_bytes * self.streams
        took_s = sent / self.rate + self.round_trip_s
        bytes_s = took_s - self.empty_s
        return max(self.rate, sent / bytes_s) if bytes_s >= LEAST_SHARE * took_s else math.inf


def largest_for(limit: float | None) -> int:
    """Object size up to which rounds grow: with a limit, what half as much again carries in AIM_S."""
    if limit is None:
        return LARGEST
    return min(max(LARGEST, int(limit * 1.5 * AIM_S / STREAMS)), LARGEST_EVER)


def upper_bound(samples: Sequence[float], miss: float = MISS_PROBABILITY) -> float | None:
    """The order statistic above the true median with probability >= 1 - `miss`; None with too few samples.

    P(x_(k) < median) = P(Binomial(n, 1/2) >= k): distribution-free, so stalls and heavy tails do not matter.
    """
    n = len(samples)
    tail = 0.0
    best: float | None = None
    for k, value in zip(range(n, 0, -1), sorted(samples, reverse=True), strict=True):
        tail += math.comb(n, k) / 2**n
        if tail > miss:
            break
        best = value
    return best


def lower_bound(samples: Sequence[float], miss: float = MISS_PROBABILITY) -> float | None:
    """The order statistic below the true median with probability >= 1 - `miss`."""
    bound = upper_bound([-sample for sample in samples], miss)
    return None if bound is None else -bound


def observe(
    move: Move, clock: Clock, *, limit: float | None, budget_bytes: int, budget_s: float, largest: int = LARGEST
) -> Transfer | None:
    """Time transfers until the answer is good enough, `budget_bytes` are moved or `budget_s` are over.

    Without a limit four samples do. With one: four samples whose median is 1.3 times the limit accept early, an
    upper bound below the limit ends it too, else twelve. None when not even one sample fitted (a path that dead).
    """
    ends_at = clock.monotonic() + budget_s
    moved = 0

    def timed(size: int, streams: int) -> float:
        nonlocal moved
        moved += size * streams
        return max(move(size, streams), 1e-6)

    round_trip_s = min(timed(1, 1), timed(1, 1))
    size, rate = _warm_up(timed, round_trip_s, clock, ends_at, largest)
    samples: list[float] = []
    while len(samples) < MANY and moved + size * STREAMS <= budget_bytes and clock.monotonic() < ends_at:
        took_s = timed(size, STREAMS)
        samples.append(size * STREAMS / _above(took_s, round_trip_s))
        if _decided(samples, limit):
            break
    if not samples:
        if rate is None:
            return None
        samples = [rate]
    single: list[float] = []
    one = min(size * 2, largest)
    while len(single) < 2 and moved + one <= budget_bytes and clock.monotonic() < ends_at:
        single.append(one / _above(timed(one, 1), round_trip_s))
    return Transfer(
        rate=statistics.median(samples),
        samples=tuple(samples),
        single=statistics.median(single) if single else 0.0,
        high=upper_bound(samples),
        low=lower_bound(samples),
        round_trip_s=round_trip_s,
        moved_bytes=moved,
        object_bytes=size,
    )


def _decided(samples: Sequence[float], limit: float | None) -> bool:
    if len(samples) < ENOUGH:
        return False
    if limit is None or statistics.median(samples) >= EARLY_FACTOR * limit:
        return True
    high = upper_bound(samples)
    return high is not None and high < limit


def _warm_up(
    timed: Callable[[int, int], float], round_trip_s: float, clock: Clock, ends_at: float, largest: int
) -> tuple[int, float | None]:
    """The object size whose round takes about AIM_S, found by growing it; the rates on the way are discarded."""
    size = min(SMALLEST, largest)
    rate: float | None = None
    while clock.monotonic() < ends_at:
        took_s = timed(size, STREAMS)
        rate = size * STREAMS / _above(took_s, round_trip_s)
        wanted = int(rate * AIM_S / STREAMS)
        if size >= largest or wanted <= size:
            return min(max(wanted, LEAST), size), rate
        size = min(max(wanted, size), size * 4, largest)
    return size, rate


def _above(took_s: float, round_trip_s: float) -> float:
    """The time that the bytes took, without the round trip; at least a tenth, for clocks and servers jitter."""
    return max(took_s - round_trip_s, took_s * 0.1)
