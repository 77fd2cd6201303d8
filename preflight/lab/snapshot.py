"""What the page shows, gathered from files and local services; never a secret, never a file's content."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync.status import STALE_AFTER_S, Status, read_status, status_path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class SyncSeen:
    """The sync's document as of now. `age_s` is None when there is none."""

    status: Status | None
    age_s: float | None

    def document(self) -> dict[str, Any]:
        """For the page: the status, how old it is, and whether it still proves anything."""
        stale = self.age_s is None or self.age_s > STALE_AFTER_S
        body = dataclasses.asdict(self.status) if self.status else None
        return {"status": body, "age_s": self.age_s, "stale": stale, "stale_after_s": STALE_AFTER_S}


def sync_seen(state_dir: Path, now_s: float) -> SyncSeen:
    """Read the sync's document; `now_s` is seconds since the epoch."""
    status = read_status(state_dir)
    return SyncSeen(status, None if status is None else max(0.0, now_s - status.updated_at))


def sync_stamp(state_dir: Path) -> tuple[int, int] | None:
    """Changes whenever the document is replaced; one stat."""
    try:
        seen = status_path(state_dir).stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_ino


def memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> dict[str, int | None]:
    """Bytes used and available to the container: the cgroup's limit where there is one, else the machine's."""
    machine = _meminfo(meminfo)
    total = machine.get("MemTotal")
    used = None if total is None else total - machine.get("MemAvailable", 0)
    limit = _number(cgroup / "memory.max")
    if limit is not None and (total is None or limit < total):
        current = _number(cgroup / "memory.current")
        cache = _statistic(cgroup / "memory.stat", "inactive_file")  # given back before anything is killed
        return {"total_bytes": limit, "used_bytes": None if current is None else max(0, current - cache)}
    return {"total_bytes": total, "used_bytes": used}


def disk(folder: Path) -> dict[str, int | None]:
    """Bytes of the disk that holds the data folder."""
    try:
        seen = os.statvfs(folder)
    except OSError:
        return {"total_bytes": None, "free_bytes": None}
    return {"total_bytes": seen.f_blocks * seen.f_frsize, "free_bytes": seen.f_bavail * seen.f_frsize}


def gpu_gauges(sample: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sample as bars: name, text and ratio (None: no bar). What the driver does not tell is not shown."""
    if not sample.get("up"):
        return [{"name": "GPU", "text": str(sample.get("why") or "does not answer"), "ratio": None}]
    bars = []
    used, total = sample.get("memory_used_bytes"), sample.get("memory_total_bytes")
    if used is not None and total:
        bars.append({"name": "GPU memory", "text": f"{used / 1e9:.1f} of {total / 1e9:.1f} GB", "ratio": used / total})
    if (busy := sample.get("utilization_ratio")) is not None:
        extra = f", {sample['temperature_c']} °C" if "temperature_c" in sample else ""
        bars.append({"name": str(sample.get("name") or "GPU"), "text": f"{busy:.0%} busy{extra}", "ratio": busy})
    if sample.get("throttled"):
        bars.append({"name": "Slowed down by", "text": ", ".join(sample["throttled"]), "ratio": None})
    return bars


def read_document(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None when there is none that can be understood."""
    try:
        body = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _meminfo(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(text.split()[0]) * 1024 for name, text in pairs}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" means no limit
        return None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name + " ")), 0)
