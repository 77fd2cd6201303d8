"""A node whose CPU is taken is not a node with a slow line."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import pytest

from preflight.checks import Context, Reading
from preflight.checks.bucket_throughput import measure_download, measure_upload
from preflight.cpu_wait import CpuWait, thread_wait_s
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity
from preflight.transfer import Transfer
from sync.stores import Store
from sync.stores.config import StoreConfig, file_config
from sync.stores.opening import open_store
from tests.support.links import SimulatedClock
from tests.support.wait import until

T = TypeVar("T")


@pytest.mark.parametrize(
    ("waits_s", "took_s", "share"),
    [
        ([0.0], 1.0, 0.0),
        ([0.1, 0.4, 0.2], 1.0, 0.4),  # the slowest thread of a round decides
        ([3.0], 1.0, 1.0),  # never more than the whole time
    ],
)
def test_the_slowest_thread_of_a_round_counts(waits_s: list[float], took_s: float, share: float) -> None:
    clock = itertools.chain.from_iterable((0.0, wait_s) for wait_s in waits_s)
    wait = CpuWait(lambda: next(clock))
    for _ in waits_s:
        wait.call(lambda: None)
    wait.round_took(took_s)
    assert wait.share == pytest.approx(share)
    assert wait.starved == (share >= 0.2)


def test_nothing_measured_is_no_wait() -> None:
    assert CpuWait().share == 0.0


def _burn(cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    while True:
        sum(range(10_000))


def test_the_kernel_counts_what_a_thread_waits() -> None:
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    burners = [multiprocessing.get_context("fork").Process(target=_burn, args=(cpu,), daemon=True) for _ in range(2)]
    for burner in burners:
        burner.start()
    try:
        os.sched_setaffinity(0, {cpu})
        before = thread_wait_s()

        def waited() -> bool:
            sum(range(10_000))
            return thread_wait_s() - before > 0.05

        until(waited, 60)
    finally:
        os.sched_setaffinity(0, allowed)
        for burner in burners:
            burner.kill()
            burner.join()


class SharedLine:
    """A server whose requests and bytes take their time one after another, on a clock that only it moves."""

    def __init__(self, inner: Store, clock: SimulatedClock, request_s: float, rate: float) -> None:
        self._inner, self._clock = inner, clock
        self._request_s, self._rate = request_s, rate
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, key: str, body: bytes, **options: object) -> object:
        return self._served(len(body), lambda: self._inner.put(key, body, **options))  # type: ignore[arg-type]

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self._served(end - start, lambda: self._inner.get_range(key, start, end))

    def get(self, key: str, into: BinaryIO) -> object:
        seen = self._inner.head(key)
        return self._served(seen.size if seen else 0, lambda: self._inner.get(key, into))

    def _served(self, size: int, act: Callable[[], T]) -> T:
        with self._turn:
            self._clock.sleep(self._request_s + size / self._rate)
            return act()


def _context(
    folder: Path, *, limit: float, request_s: float, rate: float, cpu_wait_s: Callable[[], float] = lambda: 0.0
) -> Context:
    clock = SimulatedClock()
    demand = Limit(severity=Severity.REJECT, blame=Blame.NODE, advice="", at_least=limit)
    store = SharedLine(open_store(file_config(folder)), clock, request_s, rate)
    return Context(
        clock=clock,
        stores=(StoreConfig("s3", "bucket"),),
        open_store=lambda _: cast(Store, store),
        limits={"bucket.upload": demand, "bucket.download": demand},
        cpu_wait_s=cpu_wait_s,
    )


MEASURES = pytest.mark.parametrize("measure", [measure_upload, measure_download])


@MEASURES
def test_a_slow_result_without_a_cpu_is_unknown(tmp_path: Path, measure: Callable[[Context], Reading]) -> None:
    jumps = itertools.count()
    context = _context(tmp_path, limit=2e6, request_s=0.001, rate=1e6, cpu_wait_s=lambda: 1e6 * next(jumps))
    with pytest.raises(Unmeasured, match="the CPU was busy with something else"):
        measure(context)


@MEASURES
def test_a_slow_result_with_a_cpu_counts(tmp_path: Path, measure: Callable[[Context], Reading]) -> None:
    assert measure(_context(tmp_path, limit=2e6, request_s=0.001, rate=1e6)).value == pytest.approx(1e6, rel=0.05)


@MEASURES
def test_a_server_that_answers_slowly_is_no_slow_line(tmp_path: Path, measure: Callable[[Context], Reading]) -> None:
    """The round trip that is taken off is a lonely one; four requests at once wait for each other."""
    with pytest.raises(Unmeasured, match="says more about answers than about the line"):
        measure(_context(tmp_path, limit=1e9, request_s=0.04, rate=1e10))


@pytest.mark.parametrize(
    ("empty_s", "rate"),
    [
        (None, 160e3),  # nothing was asked: it is as it seems
        (0.01, 160e3),  # a slow line: empty requests are quick
        (0.12, 160e3),  # far away, and as slow
        (0.2, 234e3),
        (0.34, math.inf),  # mostly requests
    ],
)
def test_the_rate_without_requests(empty_s: float | None, rate: float) -> None:
    seen = Transfer(160e3, (), 0.0, None, None, round_trip_s=0.12, moved_bytes=0, object_bytes=10_000, empty_s=empty_s)
    assert seen.without_requests == pytest.approx(rate, rel=0.01)
