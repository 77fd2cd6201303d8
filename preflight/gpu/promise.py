"""What a GPU's own attributes promise. Pure, and no table of models: nothing to keep up with new cards.

Formulas: CUDA C++ programming guide, "Arithmetic Instructions" (single-precision results a clock and
multiprocessor); memory moves twice a memory clock; PCI Express base specification for the lanes.
"""

from __future__ import annotations

from collections.abc import Mapping

# Single-precision multiply-adds a clock and multiprocessor, by compute capability; 128 for all others.
_CORES = {(3, 5): 192, (3, 7): 192, (6, 0): 64, (7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}
_CORES_OTHERWISE = 128
# Payload bytes a second of one lane: transfer rate, less the line code (8b/10b, then 128b/130b).
_LANE_BYTES_PER_S = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}


def promised_flops(device: Mapping[str, object]) -> float | None:
    """Single-precision operations a second at the rated clock; None when an attribute is missing."""
    sm_count, clock_khz = _number(device, "sm_count"), _number(device, "clock_khz")
    major, minor = _number(device, "capability_major"), _number(device, "capability_minor")
    if not sm_count or not clock_khz or major is None or minor is None:
        return None
    return 2.0 * sm_count * _CORES.get((major, minor), _CORES_OTHERWISE) * clock_khz * 1000.0


def promised_memory_bytes_per_s(device: Mapping[str, object]) -> float | None:
    """What the memory bus can move; None when an attribute is missing."""
    clock_khz, bus_bits = _number(device, "memory_clock_khz"), _number(device, "memory_bus_bits")
    if not clock_khz or not bus_bits:
        return None
    return 2.0 * clock_khz * 1000.0 * bus_bits / 8.0


def promised_link_bytes_per_s(link: Mapping[str, object]) -> float | None:
    """What the PCIe link can carry one way; None when it is not told."""
    generation, width = _number(link, "generation"), _number(link, "width")
    lane = _LANE_BYTES_PER_S.get(generation or 0)
    return lane * width if lane and width and width <= 32 else None


def _number(told: Mapping[str, object], key: str) -> int | None:
    value = told.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
