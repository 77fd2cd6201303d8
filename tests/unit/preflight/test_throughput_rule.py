"""How often the throughput rule is wrong, by simulation of noisy lines; and its parts, as tables."""

from __future__ import annotations

import random
import statistics

import pytest

from preflight.transfer import LARGEST, largest_for, lower_bound, observe, upper_bound
from tests.support.links import SimulatedClock, shares

LIMITS = tuple(mbps * 125e3 for mbps in (5, 10, 20, 50, 100))
SEED = 20261122


@pytest.mark.parametrize(
    ("ratio", "nodes", "most_rejected", "least_seen"),
    [
        (0.3, 60, 1.0, 0.99),
        (0.7, 200, 1.0, 0.95),  # rejected or flagged
        (1.1, 500, 0.01, 0.0),
        (1.5, 800, 0.001, 0.0),
        (5.0, 100, 0.0, 0.0),
    ],
)
def test_false_verdicts(ratio: float, nodes: int, most_rejected: float, least_seen: float) -> None:
    seen = shares(ratio, LIMITS, nodes, random.Random(SEED))
    print(f"true rate {ratio} x limit: {seen}")
    assert seen.rejected <= most_rejected
    assert seen.rejected + seen.flagged >= least_seen
    assert seen.p95_s <= 14.0


def test_bad_lines_are_mostly_rejected_and_good_ones_are_quick() -> None:
    assert shares(0.4, LIMITS, 60, random.Random(SEED)).rejected >= 0.9
    good = shares(3.0, LIMITS, 60, random.Random(SEED))
    assert good.accepted >= 0.98
    assert good.p95_s <= 4.5


def test_the_bounds_are_order_statistics() -> None:
    assert upper_bound([1.0] * 7) is None, "seven samples cannot exclude 0.5 %"
    assert upper_bound([5, 1, 4, 2, 8, 3, 7, 6]) == 8
    assert lower_bound([5, 1, 4, 2, 8, 3, 7, 6]) == 1
    assert upper_bound(list(range(1, 14))) == 12, "of 13 samples the second largest will do"


def test_the_bound_holds_as_often_as_it_says() -> None:
    rng = random.Random(SEED)
    misses = 0
    for _ in range(4000):
        bound = upper_bound([rng.lognormvariate(0, 1) for _ in range(12)])
        misses += bound is not None and bound < 1.0
    assert misses / 4000 <= 0.006


def test_a_dead_path_gives_nothing_and_ends() -> None:
    clock = SimulatedClock()

    def move(size: int, streams: int) -> float:
        clock.sleep(2.0)
        return 2.0

    assert observe(move, clock, limit=None, budget_bytes=10**7, budget_s=2.5) is None
    assert clock.at_s <= 6.5


def test_the_traffic_that_nobody_asked_for_is_bounded() -> None:
    clock = SimulatedClock()
    moved = 0

    def move(size: int, streams: int) -> float:
        nonlocal moved
        moved += size * streams
        clock.sleep(0.001)
        return 0.001

    seen = observe(move, clock, limit=None, budget_bytes=6_500_000, budget_s=2.5)
    assert seen is not None
    assert moved == seen.moved_bytes <= 6_500_000
    assert len(seen.samples) == 4


def test_the_round_trip_does_not_count() -> None:
    """A line of 10 MB/s behind 200 ms reads as 10 MB/s, although every object takes 0.2 s longer."""
    clock = SimulatedClock()

    def move(size: int, streams: int) -> float:
        took_s = 0.2 + size * streams / 10e6
        clock.sleep(took_s)
        return took_s

    seen = observe(move, clock, limit=None, budget_bytes=6_500_000, budget_s=5.0)
    assert seen is not None
    assert seen.rate == pytest.approx(10e6, rel=0.01)
    assert statistics.median(seen.samples) == seen.rate


def test_objects_grow_with_the_limit() -> None:
    assert largest_for(None) == LARGEST
    assert largest_for(1e5) == LARGEST
    assert largest_for(12.5e6) == int(12.5e6 * 1.5 * 0.25 / 4)
    assert largest_for(1e12) == 4096 * 1024
