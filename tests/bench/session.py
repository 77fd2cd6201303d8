"""What a working day asks of the bucket: requests and dollars, from the requests measured for one save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Amazon S3 Standard, us-east-1, list price in US dollars per request (PUT, COPY, POST and LIST; GET and HEAD).
# Other providers bill the same two classes within a factor of two; DELETE is free.
_WRITE_DOLLARS = 0.005 / 1000
_READ_DOLLARS = 0.0004 / 1000
_WRITES = {"PUT", "POST", "LIST", "COPY"}


@dataclass(frozen=True, slots=True)
class Day:
    """Eight hours of work."""

    requests: float
    dollars: float


def day(requests: Mapping[str, int], saves: int, *, saves_a_day: int = 960) -> Day:
    """Scale `requests` seen for `saves` saves to a day of two saves a minute for eight hours."""
    scale = saves_a_day / max(1, saves)
    total = sum(requests.values()) * scale
    dollars = sum(
        count * scale * (_WRITE_DOLLARS if kind in _WRITES else 0.0 if kind == "DELETE" else _READ_DOLLARS)
        for kind, count in requests.items()
    )
    return Day(total, dollars)
