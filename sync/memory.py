"""Keeping the child small: what the C library would otherwise hold back from the system."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def use_few_arenas() -> None:
    """One heap for all threads instead of one a thread. Call before threads start; other C libraries ignore it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Return free pages to the system, after work that needed many."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
