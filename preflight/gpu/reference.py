"""What the kernels must compute, by the CPU: word patterns and the exact bits of the burn.

A single-precision multiply-add rounds once. The product of two floats is exact in double precision; the sum is
rounded to odd there (its error is known exactly, Knuth's TwoSum), so that the second rounding, to single precision,
is the right one (Boldo & Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
"""

from __future__ import annotations

import math
import struct

_WORD = (1 << 32) - 1
BURN_CLASSES = 8  # threads t and t + 8 compute the same


def fused_multiply_add(x: float, y: float, z: float) -> float:
    """x * y + z of three single-precision numbers, rounded once to single precision."""
    product = x * y
    total = product + z
    back = total - product
    error = (product - (total - back)) + (z - back)
    if error != 0.0 and not _is_odd(total):
        total = math.nextafter(total, math.inf if error > 0.0 else -math.inf)
    return float(_SINGLE.unpack(_SINGLE.pack(total))[0])


_SINGLE = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


def _is_odd(value: float) -> bool:
    return bool(_DOUBLE.pack(value)[0] & 1)


def burn_words(iterations: int) -> list[int]:
    """The result words of the burn's eight distinct threads."""
    return [_burn_word(-1.8125 - 0.015625 * thread, iterations) for thread in range(BURN_CLASSES)]


def _burn_word(c: float, iterations: int) -> int:
    chains = [0.0625 + 0.125 * chain for chain in range(8)]
    for _ in range(iterations):
        chains = [fused_multiply_add(x, x, c) for x in chains]
    word = 0
    for x in chains:
        word = (word * 31 + int.from_bytes(_SINGLE.pack(x), "little")) & _WORD
    return word


def pattern_word(index: int, kind: int, seed: int) -> int:
    """What word `index` of the memory under test holds."""
    if kind == 0:
        return index ^ seed
    if kind in (1, 2):
        h = (index + seed) & _WORD
        h = ((h ^ h >> 16) * 0x85EBCA6B) & _WORD
        h = ((h ^ h >> 13) * 0xC2B2AE35) & _WORD
        h ^= h >> 16
        return h if kind == 1 else ~h & _WORD
    if kind == 3:
        return 1 << ((index + seed) & 31)
    if kind in (4, 5):
        return 0 if kind == 4 else _WORD
    return 0x5A5A5A5A if index % 20 == seed % 20 else 0xA5A5A5A5
