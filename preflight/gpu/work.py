"""The GPU at work, in the child: start CUDA, copy, fill the memory, compute. Tells; judges nothing.

Order: what decides first. One context, one device. Everything is bounded by the
child's own limit; each part ends early rather than late.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from preflight.gpu.burn import measure_burn
from preflight.gpu.cuda import WRONG_RESULT, Driver
from preflight.gpu.kernels import Kernels
from preflight.gpu.link import measure_link
from preflight.gpu.memtest import MemoryTest
from preflight.gpu.pipe import measure_pipe
from preflight.gpu.stages import CallFailed, Story

# A first CUDA context on a cold node takes a second or two, and with many large cards longer.
START_QUIET_S = 5.0
# Afterwards no single call waits for more than a launch of 0.2 s; a link of one PCIe lane copies 64 MiB in 0.1 s.
QUIET_S = 2.0
_COPIES, _LAUNCHES, _PATTERNS_S = 5, 5, 2.0
_LONGER = 2  # the confirming round measures twice as long


def work(story: Story, environ: Mapping[str, str], *, ordinal: int, longer: bool) -> None:
    """Tells start, pipe, memory_*, burn."""
    factor = _LONGER if longer else 1
    story.tell("patience", quiet_s=START_QUIET_S)
    began_s = time.perf_counter()
    drivers: list[Driver] = []
    if story.call("cuda_start", lambda: _start(drivers, environ)) is None:
        return
    driver = drivers[0]
    device = story.call("cuda_device", lambda: driver.open_device(ordinal))
    if device is None:
        return
    sm_count = device.get("sm_count")
    held: list[Kernels] = []
    if story.call("cuda_compile", lambda: _compile(held, driver, sm_count if isinstance(sm_count, int) else 1)) is None:
        return
    kernels = held[0]
    if story.call("cuda_first", lambda: _first_kernel(driver, kernels)) is None:
        return
    story.tell("cuda_ready", value=round(time.perf_counter() - began_s, 4))
    story.tell("patience", quiet_s=QUIET_S)
    memory = story.call("cuda_memory", lambda: list(driver.memory()))
    if memory is None:
        return
    free_bytes = memory[0]
    measure_burn(driver, kernels, story, _LAUNCHES * factor)
    measure_pipe(driver, kernels, story, free_bytes, _COPIES * factor)
    story.call(
        "memory", lambda: _memory(MemoryTest(driver, kernels, story, _PATTERNS_S * factor, thorough=longer), free_bytes)
    )
    if ordinal == 0:
        measure_link(driver, story, environ)


def _start(drivers: list[Driver], environ: Mapping[str, str]) -> dict[str, int]:
    driver = Driver(environ)
    drivers.append(driver)
    return {"version": driver.version(), "count": driver.count()}


def _compile(held: list[Kernels], driver: Driver, sm_count: int) -> bool:
    held.append(Kernels(driver, sm_count))
    return True


def _first_kernel(driver: Driver, kernels: Kernels) -> bool:
    """A launch whose result is known: a driver that only pretends is found here."""
    size = 4096
    there = driver.allocate(size)
    kernels.fill(there, size, 0, 5, 0)
    words = driver.words(there, size // 4)
    driver.free(there)
    if any(word != 0xFFFFFFFF for word in words):
        raise CallFailed("first_kernel", WRONG_RESULT)
    return True


def _memory(test: MemoryTest, free_bytes: int) -> bool:
    test.run(free_bytes)
    return True
