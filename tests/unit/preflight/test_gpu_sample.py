"""The running node's look at its GPU: what is not told is absent, and a lost card says so."""

from __future__ import annotations

import pytest

from preflight.gpu.sample import take_sample
from sync.clock import SystemClock
from tests.support.fakegpu import FakeGpu, profile

CLOCK = SystemClock()


def test_linux_tells_everything() -> None:
    sample = take_sample(profile().but(values={"THROTTLE": "0x44", "UTIL": "97"}).environ(), CLOCK)
    assert sample == {
        "up": True,
        "lost": False,
        "why": "",
        "name": "NVIDIA GeForce RTX 3060",
        "temperature_c": 45,
        "clock_sm_hz": 210_000_000,
        "clock_memory_hz": 405_000_000,
        "utilization_ratio": 0.97,
        "memory_total_bytes": 12 << 30,
        "memory_free_bytes": 12_000_000_000,
        "memory_used_bytes": (12 << 30) - 12_000_000_000,
        "power_w": 31.0,
        "throttle_bits": 0x44,
        "throttled": ["hardware thermal"],
    }


def test_old_wsl2_leaves_out_what_it_does_not_tell() -> None:
    sample = take_sample(profile("wsl2-516").environ(), CLOCK)
    assert sample is not None
    assert sample["up"]
    assert sample.keys().isdisjoint({"clock_sm_hz", "utilization_ratio", "throttle_bits", "throttled"})


@pytest.mark.parametrize("fault", [{"nvmlInitWithFlags": 999}, {"nvmlInitWithFlags": "segv"}])
def test_silence_is_down_but_not_lost(fault: dict[str, int | str]) -> None:
    sample = take_sample(profile().but(faults=fault).environ(), CLOCK)
    assert sample is not None
    assert (sample["up"], sample["lost"]) == (False, False)
    assert sample["why"]


def test_a_lost_card() -> None:
    sample = take_sample(profile().but(values={"LOST": "0"}).environ(), CLOCK)
    assert sample is not None
    assert (sample["up"], sample["lost"]) == (False, True)


def test_no_gpu_no_sample() -> None:
    assert take_sample(FakeGpu({"PREFLIGHT_NVML_LIB": "/nowhere"}).environ(), CLOCK) is None
