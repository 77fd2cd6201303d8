"""How soon a killed process is back, as docs/operations.md promises it and as it was seen."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Record = Callable[[str, object], None]
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| `?([\w. -]+?)`? \| ([\w ,]+) \| .* \| ([\d.]+) s \| ([\d.]+) s \|$", re.MULTILINE)


def promised() -> dict[tuple[str, str], float]:
    """(process, state) -> seconds within which the node is back, on the busiest machine."""
    return {(found[1], found[2]): float(found[4]) for found in ROW.finditer(PAGE.read_text())}


@contextmanager
def back_in_time(process: str, state: str, record: Record) -> Iterator[None]:
    """The block begins with the kill and ends with the service: it takes no longer than the page says.

    `record` is pytest's `record_property`: the run's summary shows what was seen.
    """
    at_most_s = promised()[process, state]
    began_s = time.monotonic()
    yield
    took_s = time.monotonic() - began_s
    record("figure", f"{process} killed while {state}: back after {took_s:.1f} s (promised {at_most_s:.0f} s)")
    assert took_s <= at_most_s
