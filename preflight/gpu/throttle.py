"""Why a card clocks down: NVML's clock event bits. A mask: several are usually set at once, never compare."""

from __future__ import annotations

_NAMES = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
    0x100: "display clocks",
}

# The others are normal states of a consumer card: idle, capped by its own power limit, driving a display.
BAD_BITS = 0x8 | 0x20 | 0x40 | 0x80


def names(bits: int) -> list[str]:
    """The reasons set in `bits`, in words."""
    return [name for bit, name in _NAMES.items() if bits & bit]
