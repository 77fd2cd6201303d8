"""What the driver tells of the GPU itself (NVML): how many, which, how much memory, how hot, how fast.

All of them read one snapshot, taken by one child process a round; a reading that GeForce or WSL2 does not give is
unknown here, never a fault.
"""

from __future__ import annotations

from collections.abc import Callable

from preflight.checks import Broken, Check, Context, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.gpu.round import expected_count, first_device, gpu_check, snapshot
from preflight.gpu.snapshot import Device
from preflight.gpu.throttle import BAD_BITS, names
from preflight.model import Blame, Limit, Severity

# What GeForce cards and WSL2 may leave out without anything being wrong.
_OPTIONAL = frozenset({"temperature", "throttle", "clock_sm", "pcie_width", "name"})


def _count(context: Context) -> Reading:
    taken = snapshot(context)
    expected = expected_count(context) or 1
    if taken.is_absent:
        return Reading(0.0, {"why": taken.why_absent("count"), "nodes": list(taken.nodes)})
    if taken.count is None:
        raise Unmeasured(taken.why_absent("count"))
    lost = [device.index for device in taken.devices if device.lost]
    usable = taken.count - len(lost)
    detail = {"names": [device.name for device in taken.devices], "lost": lost, "expected": expected}
    if taken.from_cuda:
        detail["why"] = f"by CUDA: {taken.ended_badly or 'NVML does not show it'}"
    if lost:
        detail["why"] = f"GPU {', '.join(map(str, lost))} fell off the bus or needs a reset"
    if 0 < usable < expected:
        raise Broken(f"{usable} of {expected} expected GPUs are usable", blame=Blame.NODE, detail=detail)
    return Reading(float(usable), detail)


def _device_check(read: Callable[[Device], Reading | float | str | None], stage: str) -> Callable[[Context], Reading]:
    def measure(context: Context) -> Reading:
        taken = snapshot(context)
        device = first_device(taken)
        value = read(device)
        if value is None and stage in _OPTIONAL and taken.is_not_told(stage, device.index):
            raise NotExpected(f"this driver does not tell it ({taken.why_absent(stage, device.index)})")
        if value is None:
            raise Unmeasured(taken.why_absent(stage, device.index))
        return value if isinstance(value, Reading) else Reading(value)

    return measure


def _driver(context: Context) -> Reading:
    taken = snapshot(context)
    if taken.driver is None:
        raise Unmeasured(taken.why_absent("driver"))
    return Reading(taken.driver)


def _memory_total(device: Device) -> float | None:
    return None if device.memory_total_bytes is None else float(device.memory_total_bytes)


def _memory_free(device: Device) -> Reading | None:
    if device.memory_free_bytes is None:
        return None
    detail: dict[str, object] = {"total_bytes": device.memory_total_bytes, "used_bytes": device.memory_used_bytes}
    if device.processes is not None:  # in a container these are numbers of another PID namespace: shown, not judged
        detail["processes"] = [{"pid": pid, "used_bytes": used} for pid, used in device.processes]
    return Reading(float(device.memory_free_bytes), detail)


def _memory_held(device: Device) -> Reading | None:
    if device.memory_free_bytes is None or not device.memory_total_bytes:
        return None
    held = 1.0 - device.memory_free_bytes / device.memory_total_bytes
    return Reading(round(held, 4), {"held_bytes": device.memory_total_bytes - device.memory_free_bytes})


def _throttle(device: Device) -> Reading | None:
    if device.throttle_bits is None:
        return None
    bits = device.throttle_bits
    return Reading(float((bits & BAD_BITS).bit_count()), {"bits": bits, "reasons": names(bits)})


def _clock(device: Device) -> Reading | None:
    if device.clock_sm_hz is None:
        return None
    detail = {"max_hz": device.clock_sm_max_hz, "memory_hz": device.clock_memory_hz}
    return Reading(float(device.clock_sm_hz), {**detail, "utilization": device.utilization_ratio})


def _pcie(device: Device) -> Reading | None:
    if device.pcie_width is None:
        return None
    detail = {
        "generation": device.pcie_generation,
        "generation_max": device.pcie_generation_max,
        "width_max": device.pcie_width_max,
    }
    return Reading(float(device.pcie_width), detail)


def _name(device: Device) -> Reading | None:
    if device.name is None:
        return None
    return Reading(device.name, {"uuid": device.uuid, "power_limit_w": device.power_limit_w})


CHECKS: tuple[Check, ...] = (
    gpu_check(
        "gpu.count",
        "GPUs usable",
        "count",
        _count,
        Limit(
            at_least=1.0,
            severity=Severity.REJECT,
            advice="no usable GPU is visible: the node's GPU is gone, or the deployment asks for none",
            why="a GPU was expected; one that the driver reports as lost does not count",
        ),
        "A node whose GPU fell off the bus, or was not handed to the container, is of no use. Silence of the driver "
        "is unknown, not zero.",
    ),
    gpu_check(
        "gpu.name",
        "GPU",
        "",
        _device_check(_name, "name"),
        Limit(severity=Severity.NOTE, why="a name is neither good nor bad"),
        "Which card this is, by the driver's own name; its UUID is in the details.",
    ),
    gpu_check(
        "gpu.driver",
        "GPU driver",
        "version",
        _driver,
        Limit(severity=Severity.NOTE, why="gpu.cuda judges what the driver can do"),
        "The driver's version; on WSL2 it is the Windows driver's.",
    ),
    gpu_check(
        "gpu.memory_total",
        "GPU memory",
        "B",
        _device_check(_memory_total, "memory"),
        Limit(
            severity=Severity.REJECT,
            advice="this GPU has less memory than you asked for",
            why="no default: classes differ",
        ),
        "Set a least amount if several GPU classes are allowed.",
    ),
    gpu_check(
        "gpu.memory_free",
        "GPU memory free",
        "B",
        _device_check(_memory_free, "memory"),
        Limit(
            severity=Severity.REJECT,
            advice="the card is smaller than you ask for, or somebody else on this node holds its memory",
            why="no default: classes differ",
        ),
        "Set a least amount if your work needs one.",
        every_s=60.0,
    ),
    gpu_check(
        "gpu.memory_held",
        "GPU memory held by others",
        "ratio",
        _device_check(_memory_held, "memory"),
        Limit(
            at_most=0.5,
            severity=Severity.WARN,
            advice="another program on this node holds much of the GPU's memory",
            why="a Windows desktop holds 1 to 2 GB of at least 8; half of the card is somebody's game or job",
        ),
        "Before any notebook runs nobody should hold the card.",
    ),
    gpu_check(
        "gpu.temperature",
        "GPU temperature",
        "degC",
        _device_check(
            lambda device: None if device.temperature_c is None else float(device.temperature_c), "temperature"
        ),
        Limit(
            at_most=90.0,
            severity=Severity.WARN,
            advice="the GPU is very hot: expect it to slow down",
            why="80 to 85 degrees are normal under load on consumer cards; they slow themselves down from about 90",
        ),
        "Shown; a hot card slows down but is not broken.",
        every_s=60.0,
    ),
    gpu_check(
        "gpu.clock",
        "GPU clock",
        "Hz",
        _device_check(_clock, "clock_sm"),
        Limit(severity=Severity.NOTE, why="an idle card clocks down, so no limit can be right"),
        "Recorded beside the measured speed.",
    ),
    gpu_check(
        "gpu.throttle",
        "GPU slowed by heat or power",
        "count",
        _device_check(_throttle, "throttle"),
        Limit(
            at_most=0.0,
            severity=Severity.WARN,
            advice="the card reports that heat or its power supply slows it down",
            why="only the bits for hardware slowdown, heat and power brake count; the others are normal",
        ),
        "A bit mask of reasons; how many of the bad ones are set.",
        every_s=60.0,
    ),
    gpu_check(
        "gpu.pcie",
        "PCIe lanes",
        "count",
        _device_check(_pcie, "pcie_width"),
        Limit(severity=Severity.NOTE, why="an idle link powers down; the measured bandwidth is what counts"),
        "Recorded beside the measured bandwidth.",
    ),
)
