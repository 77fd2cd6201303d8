"""What the GPU children told, as numbers that can be true. Pure.

WSL2 has answered 17179869184 GiB of memory and 999 for "not supported"; a reading outside what hardware can be is
treated as absent, with the reason, and never as a fault of the node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

LOST_CODES = frozenset({15, 16})  # GPU_IS_LOST, RESET_REQUIRED: the device fell off the bus or needs a reset
NO_LIBRARY_CODES = frozenset({9, 12})  # DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND
# NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH, and UNKNOWN, which WSL2 answers for "not supported"
NOT_TOLD_CODES = frozenset({3, 13, 25, 999})
_PCIE_WIDTHS = frozenset({1, 2, 4, 8, 12, 16, 32})
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU; None is "could not be read here"."""

    index: int
    name: str | None = None
    uuid: str | None = None
    capability: tuple[int, int] | None = None
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_used_bytes: int | None = None
    temperature_c: int | None = None
    clock_sm_hz: int | None = None
    clock_sm_max_hz: int | None = None
    clock_memory_hz: int | None = None
    clock_memory_max_hz: int | None = None
    throttle_bits: int | None = None
    utilization_ratio: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    ecc_uncorrected: int | None = None
    processes: tuple[tuple[int, int | None], ...] | None = None  # (pid, bytes or None)
    lost: bool = False  # the driver says so itself (codes 15, 16)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All readings of one round. `absent` tells for each missing reading why ("name@0": "…")."""

    devices: tuple[Device, ...] = ()
    count: int | None = None
    driver: str | None = None
    cuda: tuple[int, int] | None = None
    library_missing: bool = False
    init_error: int | None = None
    nodes: tuple[str, ...] = ()  # device files of a GPU in this container
    ended_badly: str = ""  # a sentence, when a driver call hung or crashed
    absent: Mapping[str, str] = field(default_factory=dict)
    not_told: frozenset[str] = frozenset()  # of these, what this driver says it does not tell at all
    from_cuda: bool = False  # the devices are CUDA's, since NVML shows none

    @property
    def is_absent(self) -> bool:
        """There is no GPU here, proven: no device file, and no library or a driver that answers "none"."""
        if self.count:
            return False
        no_driver = self.library_missing or self.init_error in NO_LIBRARY_CODES or self.count == 0
        return not self.nodes and no_driver and not self.ended_badly

    def is_not_told(self, reading: str, index: int) -> bool:
        """Whether this driver says that it does not tell a reading: a gap of GeForce or WSL2, and no fault."""
        return f"{reading}@{index}" in self.not_told

    def why_absent(self, reading: str, index: int | None = None) -> str:
        """One sentence on why a reading is missing."""
        key = reading if index is None else f"{reading}@{index}"
        if self.library_missing:
            return "the driver's library libnvidia-ml.so.1 is not visible in this container"
        if self.init_error is not None:
            return f"the driver's library did not start (nvmlInit answered {self.init_error})"
        return self.absent.get(key) or self.ended_badly or "the driver does not tell it here"


def _between(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _anything(_: object) -> bool:
    return True


# What hardware can be; the upper bounds leave room for many years, the lower ones exclude "0 means unsupported".
_BOUNDS: dict[str, Callable[[object], bool]] = {
    "count": _between(0, 64),
    "cuda": _between(5000, 99990),
    "temperature": _between(1, 150),
    "clock_sm": _between(1, 10_000),  # MHz
    "clock_memory": _between(1, 50_000),
    "clock_sm_max": _between(1, 10_000),
    "clock_memory_max": _between(1, 50_000),
    "throttle": _between(0, (1 << 32) - 1),
    "power": _between(1, 3_000_000),  # mW
    "power_limit": _between(1, 3_000_000),
    "pcie_generation": _between(1, 8),
    "pcie_generation_max": _between(1, 8),
    "pcie_width": lambda value: value in _PCIE_WIDTHS,
    "pcie_width_max": lambda value: value in _PCIE_WIDTHS,
    "ecc_uncorrected": _between(0, 1 << 40),
    "name": lambda value: isinstance(value, str) and bool(value.strip()) and value.isprintable(),
    "uuid": lambda value: isinstance(value, str) and re.fullmatch(r"(GPU|MIG)-[0-9A-Za-z/-]{8,80}", value) is not None,
    "driver": lambda value: isinstance(value, str) and re.fullmatch(r"\d{2,4}(\.\d+)+", value) is not None,
    "capability": lambda value: (
        isinstance(value, list) and len(value) == 2 and _between(3, 30)(value[0]) and _between(0, 9)(value[1])
    ),
    "memory": lambda value: (
        isinstance(value, dict)
        and _between(_GIB // 8, 4096 * _GIB)(value.get("total"))
        and _between(0, value["total"])(value.get("free"))
        and _between(0, value["total"])(value.get("used"))
    ),
    "utilization": lambda value: isinstance(value, dict) and _between(0, 100)(value.get("gpu")),
}


def assemble(facts: Iterable[Mapping[str, object]], *, nodes: tuple[str, ...] = (), ended_badly: str = "") -> Snapshot:
    """The snapshot of all lines, of one child or of several that continued each other: later lines win, an absent
    reading never overwrites one that was told."""
    told: dict[str, object] = {}
    absent: dict[str, str] = {}
    lost: set[int] = set()
    errors: dict[str, int] = {}
    for fact in facts:
        stage = str(fact["stage"])
        index = fact.get("device")
        key = f"{stage}@{index}" if isinstance(index, int) else stage
        if "value" in fact:
            value = fact["value"]
            if _BOUNDS.get(stage, _anything)(value):
                told[key] = value
                absent.pop(key, None)
            else:
                absent.setdefault(key, f"the driver told {str(value)[:60]!r}, which cannot be true")
        elif isinstance(code := fact.get("error"), int):
            errors[key] = code
            absent.setdefault(key, f"the driver answered {code} ({fact.get('why', '')})")
            if code in LOST_CODES and isinstance(index, int):
                lost.add(index)
        elif fact.get("skipped"):
            absent[key] = "left out: the driver hung or crashed on it"
    count = told.get("count")
    cuda = told.get("cuda")
    return Snapshot(
        devices=tuple(_device(index, told, index in lost) for index in range(count if isinstance(count, int) else 0)),
        count=count if isinstance(count, int) else None,
        driver=str(told["driver"]) if "driver" in told else None,
        cuda=(cuda // 1000, cuda % 1000 // 10) if isinstance(cuda, int) else None,
        library_missing="library" in errors and "library" not in told,
        init_error=errors.get("nvmlInit") if "nvmlInit" not in told else None,
        nodes=nodes,
        ended_badly=ended_badly,
        absent={key: why for key, why in absent.items() if key not in told},
        not_told=frozenset(key for key, code in errors.items() if code in NOT_TOLD_CODES and key not in told),
    )


def _device(index: int, told: Mapping[str, object], lost: bool) -> Device:
    def number(stage: str, factor: int = 1) -> int | None:
        value = told.get(f"{stage}@{index}")
        return value * factor if isinstance(value, int) else None

    def text(stage: str) -> str | None:
        value = told.get(f"{stage}@{index}")
        return value.strip() if isinstance(value, str) else None

    def part(stage: str, name: str) -> int | None:
        value = told.get(f"{stage}@{index}")
        return value[name] if isinstance(value, dict) else None

    capability = told.get(f"capability@{index}")
    busy, power, power_limit = part("utilization", "gpu"), number("power"), number("power_limit")
    return Device(
        index=index,
        name=text("name"),
        uuid=text("uuid"),
        capability=(capability[0], capability[1]) if isinstance(capability, list) else None,
        memory_total_bytes=part("memory", "total"),
        memory_free_bytes=part("memory", "free"),
        memory_used_bytes=part("memory", "used"),
        temperature_c=number("temperature"),
        clock_sm_hz=number("clock_sm", 1_000_000),
        clock_sm_max_hz=number("clock_sm_max", 1_000_000),
        clock_memory_hz=number("clock_memory", 1_000_000),
        clock_memory_max_hz=number("clock_memory_max", 1_000_000),
        throttle_bits=number("throttle"),
        utilization_ratio=None if busy is None else busy / 100,
        power_w=None if power is None else power / 1000,
        power_limit_w=None if power_limit is None else power_limit / 1000,
        pcie_generation=number("pcie_generation"),
        pcie_generation_max=number("pcie_generation_max"),
        pcie_width=number("pcie_width"),
        pcie_width_max=number("pcie_width_max"),
        ecc_uncorrected=number("ecc_uncorrected"),
        processes=_processes(told.get(f"processes@{index}")),
        lost=lost,
    )


def _processes(told: object) -> tuple[tuple[int, int | None], ...] | None:
    if not isinstance(told, list):
        return None
    return tuple((entry["pid"], entry["used"]) for entry in told if isinstance(entry, dict))
