"""The public Python API: what notebooks and scripts on a node may ask.

Works in any process of the user's, without credentials: it reads what the supervisor and the sync publish in the
state folder (PREFLIGHT_STATE_DIR, set in every kernel and terminal) and asks them over their sockets. Units are
seconds and bytes.
Documented in `docs/python-api.md`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflight.errors import PreflightError
from preflight.lab import line, snapshot
from preflight.lab.whole import atomic_writing as write_whole
from preflight.last_report import report_path
from preflight.outcomes import served_report
from sync.clock import SystemClock
from sync.control import socket_path

__all__ = [
    "NotRunning",
    "Verdicts",
    "benchmark",
    "bring_back",
    "check",
    "conflicts",
    "fleet_history",
    "flush",
    "gpu_now",
    "observed",
    "report",
    "sync_status",
    "trash",
    "would_fail",
    "write_whole",
]  # fmt: skip


class NotRunning(PreflightError):
    """Nobody answers: `preflight up` does not run here, or it refused. The text says which."""


def state_dir() -> Path:
    """Where this node publishes what it knows."""
    return Path(os.environ.get("PREFLIGHT_STATE_DIR") or ".local/state")


def report() -> dict[str, Any]:
    """The last verdict on this node with every check: the document that `/report` serves. Raises NotRunning."""
    document = snapshot.read_document(report_path(state_dir()))
    if document is None:
        raise NotRunning(f"this node has no report in {state_dir()}: run `preflight check` or `preflight up`")
    return served_report(document, snapshot.sync_seen(state_dir(), SystemClock().now()).status)


def sync_status() -> dict[str, Any]:
    """What is saved and what is not, plus `age_s` and `stale`: a stale answer proves nothing. Raises NotRunning."""
    seen = snapshot.sync_seen(state_dir(), SystemClock().now())
    if seen.status is None:
        raise NotRunning(f"no sync has run with its state in {state_dir()}")
    document = seen.document()
    return {**document["status"], "age_s": document["age_s"], "stale": document["stale"]}


def check(only: Iterable[str] = ()) -> dict[str, Any]:
    """Measure now, all checks or those named ("gpu", "bucket.access"); acts on nothing. Takes up to 20 s.

    Raises NotRunning.
    """
    answer = _desk({"cmd": "check", "only": list(only)}, 130.0)
    return dict(answer["report"])


def fleet_history(limit: int = 200) -> list[dict[str, Any]]:
    """The evidence of the last verdicts, this node's and the fleet's from the bucket, oldest first.

    Raises NotRunning.
    """
    return list(_desk({"cmd": "history", "limit": limit}, 70.0)["history"])


def benchmark(sizes_bytes: Sequence[int] = (1_000, 100_000, 1_000_000, 8_000_000), repeats: int = 5) -> dict[str, Any]:
    """Time put, get, head and delete in your bucket: {"store", "rows": [{"verb", "size_bytes", "took_s", "error"}]}.

    Costs 4 requests a size and repeat and leaves nothing behind. Raises NotRunning.
    """
    asked = {"cmd": "benchmark", "sizes_bytes": list(sizes_bytes), "repeats": repeats}
    return dict(_desk(asked, 310.0)["benchmark"])


def gpu_now() -> dict[str, Any] | None:
    """The first GPU's temperature, clocks, memory and power now; None where there is none. Takes at most 8 s."""
    from preflight.gpu.sample import take_sample

    return take_sample(os.environ, SystemClock())


def flush(timeout_s: float = 60.0) -> dict[str, Any]:
    """Save everything now and wait: `ok`, or `unsaved` (paths) and `why` when time ran out. Raises NotRunning."""
    return _asked(socket_path(state_dir()), {"cmd": "flush", "timeout_s": timeout_s}, timeout_s + 10.0)


def conflicts() -> list[dict[str, Any]]:
    """Files that two writers changed: {"path", "copy", "at"}. Both versions are in the folder. Raises NotRunning."""
    return list(sync_status()["conflicts"])


def trash() -> list[dict[str, Any]]:
    """Deleted files that can be brought back: {"path", "deleted_at", "size"}, oldest first. Raises NotRunning."""
    return list(_desk({"cmd": "trash"}, 70.0)["trash"])


def bring_back(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Put one entry of `trash()` back into the folder. Raises NotRunning."""
    return _desk({"cmd": "bring_back", "path": entry["path"], "deleted_at": entry["deleted_at"]}, 130.0)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a limit would have done to recorded nodes."""

    passed: int
    failed: int
    unknown: int  # not measured there: these never reject

    @property
    def failed_ratio(self) -> float:
        """Of those measured; 0 when none was."""
        measured = self.passed + self.failed
        return self.failed / measured if measured else 0.0


def observed(evidence: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    """All numbers that a check measured over the evidence, oldest first."""
    found = (one for document in evidence for one in document.get("measurements", ()) if one.get("name") == name)
    return [float(one["value"]) for one in found if isinstance(one.get("value"), int | float)]


def would_fail(
    evidence: Iterable[Mapping[str, Any]],
    name: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Verdicts:
    """How many recorded nodes this limit would have failed: try it here before it burns nodes."""
    passed = failed = unknown = 0
    for document in evidence:
        values = observed([document], name)
        if not values:
            unknown += 1
        elif (at_least is not None and values[0] < at_least) or (at_most is not None and values[0] > at_most):
            failed += 1
        else:
            passed += 1
    return Verdicts(passed, failed, unknown)


def _desk(request: dict[str, object], timeout_s: float) -> dict[str, Any]:
    return _answered(state_dir() / "desk.sock", request, timeout_s)


def _asked(path: Path, request: dict[str, object], timeout_s: float) -> dict[str, Any]:
    try:
        return line.ask(path, request, timeout_s)
    except line.NoAnswer as silence:
        raise NotRunning(f"{silence}; is `preflight up` running?") from silence


def _answered(path: Path, request: dict[str, object], timeout_s: float) -> dict[str, Any]:
    answer = _asked(path, request, timeout_s)
    if answer.get("ok") is False:
        raise NotRunning(str(answer.get("why") or json.dumps(answer)))
    return answer
