"""What CUDA tells where NVML does not. Pure.

NVML may be missing (a container with the capability `compute` but not `utility`) or useless (WSL2 has answered 999
to everything) on a node whose GPU works; CUDA's own numbers then stand in, so that such a node is not lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from preflight.gpu.snapshot import Device, Snapshot
from preflight.gpu.worked import Worked


def is_wanting(taken: Snapshot) -> bool:
    """Whether a reading that decides is missing."""
    if taken.count is None or taken.cuda is None or taken.is_absent:
        return True
    first = next((device for device in taken.devices if not device.lost), None)
    return first is not None and (first.capability is None or first.memory_total_bytes is None)


def filled(taken: Snapshot, worked: Worked) -> Snapshot:
    """The snapshot with what CUDA tells in the place of what is missing; what NVML told stays."""
    start = worked.result("cuda_start") or {}
    version, count = _integer(start, "version"), _integer(start, "count")
    if taken.cuda is None and version is not None and 5000 <= version <= 99990:
        taken = replace(taken, cuda=(version // 1000, version % 1000 // 10))
    if not taken.count and count and worked.device:
        taken = replace(taken, count=count, devices=tuple(Device(index) for index in range(count)), from_cuda=True)
    if not worked.device or not taken.devices or (taken.count != 1 and not taken.from_cuda) or taken.devices[0].lost:
        return taken  # with several, CUDA may number them otherwise
    return replace(taken, devices=(_completed(taken.devices[0], worked), *taken.devices[1:]))


def _completed(device: Device, worked: Worked) -> Device:
    told = worked.device
    major, minor = _integer(told, "capability_major"), _integer(told, "capability_minor")
    if device.capability is None and major is not None and minor is not None:
        device = replace(device, capability=(major, minor))
    if device.name is None and isinstance(told.get("name"), str):
        device = replace(device, name=str(told["name"]))
    memory = worked.told.get("cuda_memory")
    if device.memory_total_bytes is None and isinstance(memory, list) and len(memory) == 2:
        free, total = int(memory[0]), int(memory[1])
        device = replace(device, memory_free_bytes=free, memory_total_bytes=total, memory_used_bytes=total - free)
    return device


def _integer(told: Mapping[str, object], key: str) -> int | None:
    value = told.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
