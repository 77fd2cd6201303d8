"""Readings through NVML, in the child. Every reading is optional: GeForce and WSL2 lack many.

NotSupported (3), FunctionNotFound (13) and Unknown (999, which WSL2 answers where it means NotSupported) are told
as absent; nothing is judged here. The library is `libnvidia-ml.so.1`, or PREFLIGHT_NVML_LIB.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from preflight.gpu.stages import CallFailed, Story

LIBRARY_VARIABLE = "PREFLIGHT_NVML_LIB"
SONAME = "libnvidia-ml.so.1"
# Once the driver is up a reading takes milliseconds; silence for this long is a hang.
QUIET_S = 1.5
_CLOCK_SM, _CLOCK_MEMORY, _TEMPERATURE_GPU = 1, 2, 0


def open_library(story: Story, environ: Mapping[str, str]) -> bool:
    """Loads the library and initialises it; False (told) when it is missing or does not initialise."""
    path = environ.get(LIBRARY_VARIABLE) or SONAME

    def load() -> str:
        try:
            pynvml.nvmlLib = ctypes.CDLL(path)
        except OSError as error:
            raise CallFailed("library", pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, str(error)) from error
        return path

    if story.call("library", load) is None or _tell(story, "nvmlInit", lambda: _ok(pynvml.nvmlInit)) is None:
        return False
    story.tell("patience", quiet_s=QUIET_S)
    return True


def read_all(story: Story, environ: Mapping[str, str]) -> None:
    """Tells every reading of every device: what decides first, what merely informs last (it may crash)."""
    if not open_library(story, environ):
        return
    _tell(story, "driver", pynvml.nvmlSystemGetDriverVersion)
    _tell(story, "cuda", _cuda_version)
    devices = _devices(story)
    for index, device in devices.items():
        for stage, read in _IDENTITY.items():
            _tell(story, stage, _bound(read, device), index)
    for index, device in devices.items():
        for stage, read in (_STATE | _MORE).items():
            _tell(story, stage, _bound(read, device), index)
    _tell(story, "nvmlShutdown", lambda: _ok(pynvml.nvmlShutdown))


def read_sample(story: Story, environ: Mapping[str, str]) -> None:
    """Tells what changes while the node runs: memory, temperature, clocks, use, throttling, and a lost device."""
    if not open_library(story, environ):
        return
    for index, device in _devices(story).items():
        for stage, read in ({stage: _IDENTITY[stage] for stage in ("name", "memory")} | _STATE).items():
            _tell(story, stage, _bound(read, device), index)


def link_under_load() -> dict[str, int] | None:
    """The link of the only GPU now; None when there are several (CUDA may number them otherwise) or it is not told."""
    try:
        if pynvml.nvmlDeviceGetCount() != 1:
            return None
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        generation, width = _MORE["pcie_generation"](device), _MORE["pcie_width"](device)
    except pynvml.NVMLError:
        return None
    return {"generation": generation, "width": width}


def _devices(story: Story) -> dict[int, Any]:
    count = _tell(story, "count", pynvml.nvmlDeviceGetCount)
    found: dict[int, Any] = {}
    for index in range(count if isinstance(count, int) and 0 <= count <= 64 else 0):
        handle = _handle(story, index)
        if handle is not None:
            found[index] = handle
    return found


def _handle(story: Story, index: int) -> Any:
    held: list[Any] = []

    def get() -> bool:
        held.append(pynvml.nvmlDeviceGetHandleByIndex(index))
        return True

    _tell(story, "handle", get, index)
    return held[0] if held else None


def _tell(story: Story, stage: str, read: Callable[[], Any], device: int | None = None) -> Any:
    def translated() -> Any:
        try:
            return read()
        except pynvml.NVMLError as error:
            raise CallFailed(stage, int(error.value), str(error)) from error

    return story.call(stage, translated, device=device)


def _bound(read: Callable[[Any], Any], device: Any) -> Callable[[], Any]:
    return lambda: read(device)


def _ok(call: Callable[[], object]) -> bool:
    call()
    return True


def _cuda_version() -> int:
    """The driver's own CUDA number, 1000 * major + 10 * minor (13010 is 13.1). Integers, never a banner's text."""
    try:
        return int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError:
        return int(pynvml.nvmlSystemGetCudaDriverVersion())


def _memory(device: Any) -> dict[str, int]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    return {"total": int(memory.total), "free": int(memory.free), "used": int(memory.used)}


def _utilization(device: Any) -> dict[str, int]:
    rates = pynvml.nvmlDeviceGetUtilizationRates(device)
    return {"gpu": int(rates.gpu), "memory": int(rates.memory)}


def _throttle(device: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(device))
    except pynvml.NVMLError:  # the name before driver 535
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(device))


def _processes(device: Any) -> list[dict[str, int | None]]:
    return [
        {"pid": int(process.pid), "used": None if process.usedGpuMemory is None else int(process.usedGpuMemory)}
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device)
    ]


_IDENTITY: dict[str, Callable[[Any], Any]] = {
    "name": lambda d: str(pynvml.nvmlDeviceGetName(d)),
    "capability": lambda d: list(pynvml.nvmlDeviceGetCudaComputeCapability(d)),
    "memory": _memory,
    "uuid": lambda d: str(pynvml.nvmlDeviceGetUUID(d)),
}
_STATE: dict[str, Callable[[Any], Any]] = {
    "temperature": lambda d: int(pynvml.nvmlDeviceGetTemperature(d, _TEMPERATURE_GPU)),
    "clock_sm": lambda d: int(pynvml.nvmlDeviceGetClockInfo(d, _CLOCK_SM)),
    "clock_memory": lambda d: int(pynvml.nvmlDeviceGetClockInfo(d, _CLOCK_MEMORY)),
    "utilization": _utilization,
    "throttle": _throttle,
    "power": lambda d: int(pynvml.nvmlDeviceGetPowerUsage(d)),
}
_MORE: dict[str, Callable[[Any], Any]] = {
    "clock_sm_max": lambda d: int(pynvml.nvmlDeviceGetMaxClockInfo(d, _CLOCK_SM)),
    "clock_memory_max": lambda d: int(pynvml.nvmlDeviceGetMaxClockInfo(d, _CLOCK_MEMORY)),
    "power_limit": lambda d: int(pynvml.nvmlDeviceGetEnforcedPowerLimit(d)),
    "pcie_generation": lambda d: int(pynvml.nvmlDeviceGetCurrPcieLinkGeneration(d)),
    "pcie_generation_max": lambda d: int(pynvml.nvmlDeviceGetMaxPcieLinkGeneration(d)),
    "pcie_width": lambda d: int(pynvml.nvmlDeviceGetCurrPcieLinkWidth(d)),
    "pcie_width_max": lambda d: int(pynvml.nvmlDeviceGetMaxPcieLinkWidth(d)),
    "processes": _processes,
    "ecc_uncorrected": lambda d: int(pynvml.nvmlDeviceGetTotalEccErrors(d, 1, 1)),
}
