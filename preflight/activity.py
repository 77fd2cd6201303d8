"""Whether somebody uses JupyterLab, as its own server says: busy kernels, terminals, and when they last moved.

The server extension writes the document; the monitor reads it. A document that is old proves nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STALE_AFTER_S = 60.0
WRITE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Activity:
    """As of `at` (seconds since the epoch)."""

    at: float
    busy: int  # kernels that compute
    kernels: int
    terminals: int
    last_at: float  # when a kernel or terminal last did something


def activity_path(state_dir: Path) -> Path:
    """Where the document lives."""
    return state_dir / "lab" / "activity.json"


def write_activity(state_dir: Path, activity: Activity) -> None:
    """Replace the document atomically."""
    path = activity_path(state_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_suffix(".tmp")
    temp.write_text(json.dumps({name: getattr(activity, name) for name in Activity.__slots__}))
    os.replace(temp, path)


def read_activity(state_dir: Path, now: float) -> Activity | None:
    """The last document, None when there is none, it is old, or it cannot be understood."""
    try:
        raw = json.loads(activity_path(state_dir).read_text())
        activity = Activity(**raw)
        return activity if abs(now - activity.at) <= STALE_AFTER_S else None
    except (OSError, ValueError, TypeError):
        return None


def is_idle(activity: Activity | None, now: float, idle_s: float) -> bool | None:
    """Whether no kernel computes and none moved for `idle_s`; None when it is not known."""
    if activity is None:
        return None
    return activity.busy == 0 and now - activity.last_at >= idle_s


def activity_of(settings: Mapping[str, object], now: float) -> Activity:
    """What a running Jupyter server's managers say (its web application's settings)."""
    kernels = _models(settings.get("kernel_manager"), "list_kernels")
    terminals = _models(settings.get("terminal_manager"), "list")
    busy = sum(model.get("execution_state") in ("busy", "starting", "restarting") for model in kernels)
    moved = [_epoch(model.get("last_activity")) for model in (*kernels, *terminals)]
    started = _epoch(settings.get("started"))
    return Activity(now, busy, len(kernels), len(terminals), max([*moved, started]))


def _models(manager: object, method: str) -> list[dict[str, object]]:
    ask = getattr(manager, method, None)
    return list(ask()) if callable(ask) else []


def _epoch(moment: object) -> float:
    from datetime import datetime

    try:
        if isinstance(moment, str):
            return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
        return moment.timestamp() if isinstance(moment, datetime) else 0.0
    except ValueError:
        return 0.0
