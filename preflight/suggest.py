"""How often to save a checkpoint, and which upload speed to demand, from what the nodes really measured. Pure.

A longer interval loses more work when a node goes; a shorter one needs a faster line, which fewer nodes have.
Sound means: the upload of one checkpoint ends in half the interval, so a retry and the notebook's own saves fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BUSY_SHARE = 0.5  # of the interval that the upload may take
MEAN_UPTIME_S = 35 * 3600.0  # of interrupted runs, recorded on 100 Salad nodes in 2025 (60 h over all runs)
ROUND_S = (60, 120, 300, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200, 10800, 14400, 21600, 43200, 86400)
# Least, p10 … p90, most of 49 recorded node starts (5, 18, 93 and 171 Mbit/s were published; lines between them).
DEFAULT_UPLOADS = tuple(mbps * 125e3 for mbps in (5.0, 18.0, 36.8, 55.5, 74.3, 93.0, 112.5, 132.0, 151.5, 171.0, 171.0))


@dataclass(frozen=True, slots=True)
class Choice:
    """One saving interval and what it means."""

    interval_s: float
    upload_s: float  # of one checkpoint, at the speed that a tenth of the nodes do not reach
    needed_bytes_per_s: float  # upload speed that makes this interval sound
    share_of_nodes: float  # of the recorded ones that reach it
    lost_per_interruption_s: float  # of work, on average: half an interval, and the upload that had not ended
    lost_ratio: float  # of all work, with one interruption each MEAN_UPTIME_S


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie, interpolated. `values` must not be empty."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def shortest_sound(size_bytes: float, uploads: Sequence[float]) -> float:
    """Seconds: the shortest interval at which nine of ten nodes have the checkpoint saved in half of it."""
    return size_bytes / percentile(uploads, 0.1) / BUSY_SHARE


def choices(size_bytes: float, uploads: Sequence[float], *, mean_uptime_s: float = MEAN_UPTIME_S) -> tuple[Choice, ...]:
    """Intervals from a minute to a day that at least one recorded node can keep, shortest first."""
    slow = percentile(uploads, 0.1)
    found = []
    for interval in ROUND_S:
        needed = size_bytes / (interval * BUSY_SHARE)
        share = sum(1 for one in uploads if one >= needed) / len(uploads)
        if share == 0:
            continue
        upload_s = size_bytes / max(slow, needed)
        lost = interval / 2 + upload_s
        found.append(Choice(float(interval), upload_s, needed, share, lost, min(lost / mean_uptime_s, 1.0)))
    return tuple(found)


def best(size_bytes: float, uploads: Sequence[float]) -> Choice | None:
    """The shortest interval that nine of ten nodes can keep; None when none of up to a day is sound."""
    return next((one for one in choices(size_bytes, uploads) if one.share_of_nodes >= 0.9), None)


def region_hint(latency_s: float, least_s: float | None = None) -> str:
    """A plain sentence about the bucket's distance; "" when it is near enough not to matter.

    A save waits for at least one round trip, so halving the distance halves the wait for small files.
    """
    if latency_s < 0.06:  # within a continent most nodes lie below 40 ms
        return ""
    factor = latency_s / max(least_s or 0.04, 0.005)
    text = f"your bucket is {latency_s * 1e3:.0f} ms away"
    if factor < 1.5:
        return ""
    return f"{text}; nodes near it save small files about {factor:.0f}x faster (choose another region or country codes)"
