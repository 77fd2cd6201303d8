"""A store that answers nothing is noticed long before one request is given up."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from sync.clock import SystemClock
from sync.errors import NotFound, Transient
from sync.stores import Writes
from sync.stores.retry import Patience, Retrying
from tests.model.simulation.bucket import Bucket
from tests.model.simulation.faults import Network
from tests.model.simulation.memory_store import Bystander, MemoryStore


class Ticks(SystemClock):
    """One second a look."""

    def __init__(self) -> None:
        self._ticks: Iterator[int] = itertools.count()

    def monotonic(self) -> float:
        return float(next(self._ticks))

    def sleep(self, seconds: float) -> None:
        del seconds


def test_silence_begins_with_the_first_failure_and_any_answer_ends_it() -> None:
    broken = MemoryStore(Bucket(Writes.FULL), Bystander("test"), Network(random.Random(1), 0.0))
    retrying = Retrying(broken, patience=Patience(attempts=3), clock=Ticks())
    assert retrying.silence is None
    broken._network.partition_until_s = 1e9
    for _ in range(2):
        with pytest.raises(Transient):
            retrying.head("a")
        assert retrying.silence is not None
        assert retrying.silence.since_s == 0.0  # of the very first attempt, whatever was given up between
    broken._network.partition_until_s = 0.0
    with pytest.raises(NotFound):
        retrying.head("a")
    assert retrying.silence is None  # "there is no such object" is an answer
