"""How fast the GPU and the host copy to each other, and whether what arrives is what was sent. In the child.

Pinned memory, one copy to warm up, then the median of five each way, in the device's own time. The content goes
once round: made on the device, copied to the host, copied back, compared on the device, and a part on the host.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable

from preflight.gpu.cuda import NO_TIME, OUT_OF_MEMORY, Driver
from preflight.gpu.kernels import FOUND_WORDS, Kernels
from preflight.gpu.reference import pattern_word
from preflight.gpu.stages import CallFailed, Story

SIZE_BYTES = 64 << 20
_LEAST_BYTES = 1 << 20
_LONGEST_S = 0.8  # each way
_HASH, _SEED = 1, 0x50F1
_SAMPLED_WORDS = 2048


def measure_pipe(driver: Driver, kernels: Kernels, story: Story, free_bytes: int, copies: int) -> None:
    """Tells `pipe`: {size_bytes, h2d: [B/s …], d2h: […], wrong_words, host_wrong_words, pinned}."""
    story.call("pipe", lambda: _measure(driver, kernels, story, min(SIZE_BYTES, free_bytes // 8) & ~0xFFFF, copies))


def _measure(driver: Driver, kernels: Kernels, story: Story, size: int, copies: int) -> dict[str, object]:
    there, size = _device_memory(driver, size)
    host, pageable = _host_memory(driver, size)
    found = driver.allocate(4096)
    kernels.fill(there, size, 0, _HASH, _SEED)
    d2h = _timed(driver, lambda: driver.to_host(host, there, size), size, copies, story)
    host_wrong = _wrong_on_host(host, size)
    kernels.fill(there, size, 0, _HASH, ~_SEED & 0xFFFFFFFF)  # what comes back must come from the host
    h2d = _timed(driver, lambda: driver.to_device(there, host, size), size, copies, story)
    driver.zero(found, FOUND_WORDS)
    kernels.check(there, size, 0, _HASH, _SEED, found)
    wrong = driver.words(found, FOUND_WORDS)[0]
    driver.free(found)
    driver.free(there)
    if pageable is None:
        driver.free_host(host)
    return {
        "size_bytes": size,
        "h2d": h2d,
        "d2h": d2h,
        "h2d_median": statistics.median(h2d),
        "d2h_median": statistics.median(d2h),
        "wrong_words": wrong,
        "host_wrong_words": host_wrong,
        "pinned": pageable is None,
    }


def _device_memory(driver: Driver, size: int) -> tuple[int, int]:
    """(address, size): less than asked for when another program takes what was free a moment ago."""
    while True:
        try:
            return driver.allocate(size), size
        except CallFailed as failure:
            if failure.code != OUT_OF_MEMORY or size < 2 * _LEAST_BYTES:
                raise
            size = size // 2 & ~0xFFFF


def _host_memory(driver: Driver, size: int) -> tuple[int, object]:
    """Pinned memory, or ordinary memory where the driver refuses that much of it (WSL2 limits it)."""
    try:
        return driver.allocate_host(size), None
    except CallFailed:
        pageable = ctypes.create_string_buffer(size)
        return ctypes.addressof(pageable), pageable


def _timed(driver: Driver, copy: Callable[[], None], size: int, copies: int, story: Story) -> list[float]:
    """Bytes a second of each copy after the first."""
    begin, end = driver.event(), driver.event()
    speeds = []
    spent_s = 0.0
    for number in range(copies + 1):
        begin.record()
        copy()
        end.record()
        took_s = end.seconds_since(begin)
        if number and took_s > 0.0:
            speeds.append(round(size / took_s))
        spent_s += took_s
        story.alive()
        if spent_s > _LONGEST_S and len(speeds) > 1:
            break  # a link this slow has shown it
    if not speeds:
        raise CallFailed("cuEventElapsedTime", NO_TIME, "the device's clock stands still")
    return [float(speed) for speed in speeds]


def _wrong_on_host(host: int, size: int) -> int:
    words = (ctypes.c_uint * (size // 4)).from_address(host)
    step = max(1, len(words) // _SAMPLED_WORDS)
    return sum(words[index] != pattern_word(index, _HASH, _SEED) for index in range(0, len(words), step))
