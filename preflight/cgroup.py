"""What this container may use: cgroup v2 or v1, not what the virtual machine around it has.

On Salad psutil and /proc show the whole WSL machine (16 CPUs, 31 GiB) to a container of 8 CPUs and 16 GiB.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
UNLIMITED = 1 << 60  # v1 writes a number near 2^63 for "no limit"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `source` says who set the limit: "cgroup v2", "cgroup v1" or "machine"."""

    limit_bytes: int
    available_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Cpus:
    """How many CPUs' worth of time, and who set it."""

    count: float
    source: str


def memory(root: Path = ROOT, meminfo: Path = MEMINFO) -> Memory | None:
    """The memory that may be used and what is left of it; None when nothing tells."""
    machine = _meminfo(meminfo)
    v2, v1 = root / "memory.max", root / "memory" / "memory.limit_in_bytes"
    for limit_file, used_file, stat_file, source in (
        (v2, root / "memory.current", root / "memory.stat", "cgroup v2"),
        (v1, v1.parent / "memory.usage_in_bytes", v1.parent / "memory.stat", "cgroup v1"),
    ):
        limit = _number(limit_file)
        if limit is None or limit >= UNLIMITED or (machine and limit > machine[0]):
            continue
        used = _number(used_file) or 0
        # Page cache that nobody uses is given back before anything is killed.
        reclaimable = _stat(stat_file, "inactive_file" if source == "cgroup v2" else "total_inactive_file")
        left = max(limit - max(used - reclaimable, 0), 0)
        return Memory(limit, min(left, machine[1]) if machine else left, source)
    return Memory(*machine, "machine") if machine else None


def cpus(root: Path = ROOT) -> Cpus:
    """CPU quota over period, or the CPUs that this process may run on, whichever is less."""
    allowed = float(len(os.sched_getaffinity(0)))
    quota: float | None = None
    source = "machine"
    words = _text(root / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0:
        quota, source = int(words[0]) / int(words[1]), "cgroup v2"
    else:
        v1_quota, v1_period = _number(root / "cpu" / "cpu.cfs_quota_us"), _number(root / "cpu" / "cpu.cfs_period_us")
        if v1_quota and v1_quota > 0 and v1_period:
            quota, source = v1_quota / v1_period, "cgroup v1"
    if quota is None or quota > allowed:
        return Cpus(allowed, "machine")
    return Cpus(quota, source)


def _meminfo(path: Path) -> tuple[int, int] | None:
    """Total and available bytes of the machine."""
    found: dict[str, int] = {}
    for row in _text(path).splitlines():
        name, _, rest = row.partition(":")
        words = rest.split()
        if name in ("MemTotal", "MemAvailable") and words and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    if "MemTotal" not in found:
        return None
    return found["MemTotal"], found.get("MemAvailable", found["MemTotal"])


def _stat(path: Path, field: str) -> int:
    for row in _text(path).splitlines():
        name, _, value = row.partition(" ")
        if name == field and value.isdigit():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    try:
        return int(text)
    except ValueError:
        return None  # "max", or the file is not there


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
