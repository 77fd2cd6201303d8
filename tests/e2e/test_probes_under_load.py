"""Probes while the machine is busy, and what the supervisor costs when nothing happens."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_supervision import node
from tests.support.node import PREFLIGHT
from tests.support.probing import Prober
from tests.support.wait import until

pytestmark = pytest.mark.timeout(180)
BUSY = 8
P99_S = 0.25


def _spin() -> None:
    while True:
        pass


def test_livez_answers_in_time_on_a_busy_machine(tmp_path: Path) -> None:
    spinners = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(BUSY)]
    with node(tmp_path / "node") as one:
        one.wait_ready()
        for spinner in spinners:
            spinner.start()
        try:
            until(lambda: all(psutil.Process(spinner.pid).cpu_times().user > 0.05 for spinner in spinners), 60)
            with Prober(one.probe_port, every_s=0.02) as prober:
                until(lambda: len(prober.took) >= 300 or prober.bad, 60, lambda: prober.bad)
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.join()
    assert prober.bad == []
    assert prober.quantile(0.99) <= P99_S, f"p50 {prober.quantile(0.5):.3f} s, p99 {prober.quantile(0.99):.3f} s"


def test_livez_answers_in_time_during_a_burst_of_files(tmp_path: Path) -> None:
    with node(tmp_path / "node") as one:
        one.wait_ready()
        with Prober(one.probe_port, every_s=0.02) as prober:
            for number in range(200):
                folder = one.folder / f"burst-{number}"
                folder.mkdir()
                for file in range(100):
                    (folder / f"{file}.txt").write_text("x")
            until(lambda: len(prober.took) >= 200 or prober.bad, 60, lambda: prober.bad)
    assert prober.bad == []
    assert prober.quantile(0.99) <= P99_S, f"p50 {prober.quantile(0.5):.3f} s, p99 {prober.quantile(0.99):.3f} s"


def test_an_idle_supervisor_costs_next_to_nothing(tmp_path: Path) -> None:
    with node(tmp_path / "node") as one:
        one.wait_ready()
        one.wait_saved()
        assert one.process is not None
        supervisor = psutil.Process(one.process.pid)
        began, before = time.monotonic(), supervisor.cpu_times()
        time.sleep(float(os.environ.get("PREFLIGHT_IDLE_TEST_S", "12")))  # measuring a rate takes time
        after = supervisor.cpu_times()
        share = (after.user + after.system - before.user - before.system) / (time.monotonic() - began)
        assert supervisor.memory_info().rss <= 60 * 1024 * 1024
        assert share <= 0.006, f"{share:.2%} of a core"  # the goal is 0.3 %; ticks of 10 ms are coarse


def test_the_exec_probe_starts_fast(tmp_path: Path) -> None:
    """150 ms of processor time at the most, of ten starts the best: the machine may be busy with other tests."""
    least = float("inf")
    for _ in range(10):
        probe = os.posix_spawn(PREFLIGHT, ["preflight", "probe", "live", "--quiet"], {"PREFLIGHT_PROBE_PORT": "1"})
        _, status, used = os.wait4(probe, 0)
        assert os.waitstatus_to_exitcode(status) == 1
        least = min(least, used.ru_utime + used.ru_stime)
    assert least < 0.15, f"{least:.3f} s"
