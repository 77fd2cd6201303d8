"""Waiting for a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], timeout_s: float, describe: Callable[[], object] = lambda: "") -> None:
    """Poll until `condition()` is true; AssertionError with `describe()` after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true after {timeout_s} s: {describe()}")
        time.sleep(0.02)
