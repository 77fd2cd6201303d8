"""One cheap look at the GPU while the node runs, for metrics, the page and the runtime findings.

A process a look (about 0.1 s of CPU), so that a driver call that hangs can never stop the supervisor.
"""

from __future__ import annotations

from collections.abc import Mapping

from preflight.gpu.readings import read_snapshot
from preflight.gpu.snapshot import Device, Snapshot
from preflight.gpu.throttle import BAD_BITS, names
from sync.clock import Clock

EVERY_S = 30.0  # temperature and clocks change within seconds, what to do about them within minutes


def take_sample(environ: Mapping[str, str], clock: Clock) -> dict[str, object] | None:
    """What the first GPU does now; None where there is none. Takes at most about 8 s, whatever the driver does.

    Always: `up` (it answered), `lost` (the driver itself says that it fell off the bus), `why` ("" when up). The
    others only when the driver tells them; an absent key is "not told", never zero: `name`, `temperature_c`,
    `clock_sm_hz`, `clock_memory_hz`, `utilization_ratio`, `memory_total_bytes`, `memory_free_bytes`,
    `memory_used_bytes`, `power_w`, `throttle_bits`, `throttled` (reasons that slow it down, in words).
    """
    return describe(read_snapshot(environ, clock, job="sample"))


def describe(taken: Snapshot) -> dict[str, object] | None:
    """The sample of a snapshot."""
    if taken.is_absent:
        return None
    if not taken.devices:
        return {"up": False, "lost": False, "why": taken.why_absent("count")}
    device = taken.devices[0]
    if device.lost:
        return {"up": False, "lost": True, "why": "the driver says that the GPU fell off the bus or needs a reset"}
    told = _told(device)
    return {"up": bool(told), "lost": False, "why": "" if told else taken.why_absent("memory", 0)} | told


def _told(device: Device) -> dict[str, object]:
    told: dict[str, object | None] = {
        "name": device.name,
        "temperature_c": device.temperature_c,
        "clock_sm_hz": device.clock_sm_hz,
        "clock_memory_hz": device.clock_memory_hz,
        "utilization_ratio": device.utilization_ratio,
        "memory_total_bytes": device.memory_total_bytes,
        "memory_free_bytes": device.memory_free_bytes,
        "memory_used_bytes": device.memory_used_bytes,
        "power_w": device.power_w,
        "throttle_bits": device.throttle_bits,
        "throttled": None if device.throttle_bits is None else names(device.throttle_bits & BAD_BITS),
    }
    return {name: value for name, value in told.items() if value is not None}
