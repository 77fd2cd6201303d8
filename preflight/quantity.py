"""Numbers with units, both ways: what a person writes in a limit, and what a person reads in a table.

Inside, everything is seconds and bytes; "20Mbps" or "8GiB" exist only at this edge. Pure.
"""

from __future__ import annotations

import math
import re

_BYTES = {
    "": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
    "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
}  # fmt: skip
_BITS = {"kbps": 125.0, "mbps": 125e3, "gbps": 125e6, "kbit/s": 125.0, "mbit/s": 125e3, "gbit/s": 125e6}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
_SUFFIXES: dict[str, dict[str, float]] = {
    "B": _BYTES,
    "B/s": {"": 1.0, **{f"{name}/s": factor for name, factor in _BYTES.items() if name}, **_BITS},
    "s": _SECONDS,
    "ratio": {"": 1.0, "%": 0.01},
    "degC": {"": 1.0, "c": 1.0, "degc": 1.0, "°c": 1.0},
    "W": {"": 1.0, "w": 1.0},
    "Hz": {"": 1.0, "hz": 1.0, "mhz": 1e6, "ghz": 1e9},
    "FLOP/s": {"": 1.0, "gflop/s": 1e9, "tflop/s": 1e12, "gflops": 1e9, "tflops": 1e12},
}
_NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*$")
_VERSION = re.compile(r"^\d+(\.\d+)*$")


def parse(text: str, unit: str) -> float | str:
    """What `text` means in `unit` ("20Mbps" -> 2.5e6 for "B/s"); a version stays a string ("12.10" is not 12.1).

    Raises ValueError with a sentence that says what would be accepted.
    """
    if unit == "version":
        if not _VERSION.match(text.strip()):
            raise ValueError(f"{text!r} is not a version such as 12.8")
        return text.strip()
    match = _NUMBER.match(text)
    suffixes = _SUFFIXES.get(unit, {"": 1.0})
    factor = suffixes.get(match.group(2).lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a number in {unit or 'this unit'}{_examples(unit)}")
    value = float(match.group(1)) * factor
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _examples(unit: str) -> str:
    example = {"B": "8GiB", "B/s": "20Mbps or 2.5MB/s", "s": "80ms", "ratio": "0.9 or 90%"}.get(unit)
    return f" (for example {example})" if example else ""


def show(value: float | str | None, unit: str) -> str:
    """`value` as people read it: 3 significant digits, the unit that fits."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return str(value)
    match unit:
        case "B":
            return _scaled(value, (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), "B")
        case "B/s":
            return _scaled(value, (("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3)), "B/s")
        case "FLOP/s":
            return _scaled(value, (("TFLOP/s", 1e12), ("GFLOP/s", 1e9)), "FLOP/s")
        case "Hz":
            return _scaled(value, (("GHz", 1e9), ("MHz", 1e6)), "Hz")
        case "s":
            if value != 0 and abs(value) < 1:
                return f"{_digits(value * 1e3)} ms"
            return f"{_digits(value)} s"
        case "ratio":
            return f"{_digits(value * 100)} %"
        case "degC":
            return f"{_digits(value)} °C"
        case "count" | "number" | "" | "version":
            return _digits(value)
    return f"{_digits(value)} {unit}"


def _scaled(value: float, steps: tuple[tuple[str, float], ...], least: str) -> str:
    for name, size in steps:
        if abs(value) >= size:
            return f"{_digits(value / size)} {name}"
    return f"{_digits(value)} {least}"


def _digits(value: float) -> str:
    """Three significant digits, no exponent, no trailing zeros: 1234 -> "1234", 0.0421 -> "0.0421"."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(decimals, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def version_key(text: str) -> tuple[int, ...]:
    """A version as comparable numbers: "12.10" > "12.8". Raises ValueError for anything else."""
    return tuple(int(part) for part in text.split("."))
