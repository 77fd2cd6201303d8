"""A node whose CPU is taken is not a node with a slow line."""

from __future__ import annotations

import dataclasses
import itertools
import math
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from preflight.checks import Context
from preflight.checks.bucket_throughput import measure_download, measure_upload
from preflight.cpu_wait import CpuWait, thread_wait_s
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity
from preflight.transfer import Transfer
from sync.clock import SystemClock
from sync.stores import Store
from sync.stores.config import StoreConfig, file_config
from sync.stores.opening import open_store
from tests.support.wait import until


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


def _context(folder: Path, cpu_wait_s: Callable[[], float]) -> Context:
    limit = Limit(severity=Severity.REJECT, blame=Blame.NODE, advice="", at_least=1e15)
    return Context(
        stores=(StoreConfig("s3", "bucket"),),
        open_store=lambda _: open_store(file_config(folder)),
        limits={"bucket.upload": limit, "bucket.download": limit},
        cpu_wait_s=cpu_wait_s,
    )


@pytest.mark.parametrize("measure", [measure_upload, measure_download])
def test_a_slow_result_without_a_cpu_is_unknown(tmp_path: Path, measure: Callable[[Context], object]) -> None:
    jumps = itertools.count()
    with pytest.raises(Unmeasured, match="the CPU was busy with something else"):
        measure(_context(tmp_path, lambda: float(next(jumps))))


@pytest.mark.parametrize("measure", [measure_upload, measure_download])
def test_a_slow_result_with_a_cpu_counts(tmp_path: Path, measure: Callable[[Context], object]) -> None:
    assert getattr(measure(_context(tmp_path, lambda: 0.0)), "value", 0) > 0


class OneAtATime:
    """A server that needs a while for each request, whatever its size, and serves one after another."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, key: str, body: bytes, **options: object) -> object:
        return self._served(lambda: self._inner.put(key, body, **options))  # type: ignore[arg-type]

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self._served(lambda: self._inner.get_range(key, start, end))

    def get(self, key: str, into: BinaryIO) -> object:
        return self._served(lambda: self._inner.get(key, into))

    def _served(self, act: Callable[[], Any]) -> Any:
        with self._turn:
            SystemClock().sleep(0.04)
            return act()


@pytest.mark.parametrize("measure", [measure_upload, measure_download])
def test_a_server_that_answers_slowly_is_no_slow_line(tmp_path: Path, measure: Callable[[Context], object]) -> None:
    """The round trip that is taken off is a lonely one; four requests at once wait for each other."""
    context = _context(tmp_path, lambda: 0.0)
    slow = dataclasses.replace(context, open_store=lambda _: OneAtATime(open_store(file_config(tmp_path))))  # type: ignore[arg-type,return-value]
    with pytest.raises(Unmeasured, match="says more about answers than about the line"):
        measure(slow)


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
