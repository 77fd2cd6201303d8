"""The PCIe link while it is in use: at rest it powers down, and says so. In the child, and last: it asks NVML."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

from preflight.gpu.cuda import Driver
from preflight.gpu.nvml import link_under_load, open_library
from preflight.gpu.stages import Story

_COPY_BYTES = 4 << 20
_COPIES = 64  # 256 MiB: 10 ms on a fast link, long enough to be asked about


def measure_link(driver: Driver, story: Story, environ: Mapping[str, str]) -> None:
    """Tells `link`: {generation, width} while copies run; nothing where NVML does not tell."""
    if open_library(story, environ):
        story.call("link", lambda: _measure(driver))


def _measure(driver: Driver) -> dict[str, int] | None:
    there = driver.allocate(_COPY_BYTES)
    here = ctypes.create_string_buffer(_COPY_BYTES)
    for _ in range(_COPIES):
        driver.to_device(there, ctypes.addressof(here), _COPY_BYTES)
    told = link_under_load()
    driver.synchronize()
    driver.free(there)
    return told
