"""The start-up examination in a child process: whatever a check does to its process, the supervisor lives.

The child prints one JSON object a line: {"finding": …} as checks finish, then {"report": …} and, when the node is
handed back, {"action": …}. A child that dies or hangs ends as *degraded*, never as a reason to leave the node.
"""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from preflight import processes
from sync.clock import Clock

log = logging.getLogger(__name__)
DEADLINE_S = 90.0  # 20 s of checks, a confirming round, the ledger and the platform's answer, with room


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the child said."""

    report: Mapping[str, Any] | None
    error: str = ""  # why there is no report

    @property
    def verdict(self) -> str:
        """accept, degraded or reject."""
        return str((self.report or {}).get("verdict", "degraded"))

    @property
    def handed_back(self) -> bool:
        """Whether the platform took the request for another node, or for a restart of this one: it will be stopped."""
        action = (self.report or {}).get("action") or {}
        return action.get("kind") in ("reallocate", "restart") and bool(action.get("done"))


def examine(
    environ: Mapping[str, str],
    *,
    clock: Clock,
    on_finding: Callable[[Mapping[str, Any]], None],
    stopped: Callable[[], bool],
    deadline_s: float = DEADLINE_S,
) -> Outcome:
    """Run the child and pass its findings on as they come. Returns early, without a report, once `stopped()`."""
    from preflight.assessment import warmup_s

    deadline_s += 2 * warmup_s(environ)  # the user's own command, and once more to confirm
    command = processes.Command((processes.console_script("preflight"), "examine-node"), environ, piped=True)
    try:
        process = processes.spawn(command)
    except OSError as failed:
        return Outcome(None, f"the checks could not be started: {failed.strerror}")
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(process, lines), name="examination", daemon=True).start()
    until_s = clock.monotonic() + deadline_s
    report: Mapping[str, Any] | None = None
    error = ""
    while not stopped():
        if clock.monotonic() > until_s:
            error = f"the checks did not finish within {deadline_s:.0f} s"
            break
        try:
            line = lines.get(timeout=0.25)
        except queue.Empty:
            continue
        if line is None:
            break
        said = _parsed(line)
        if "finding" in said:
            on_finding(said["finding"])
        if "report" in said:
            report = said["report"]
    processes.terminate(process.pid)
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        processes.kill_group(process.pid)
        status = process.wait()
    processes.kill_group(process.pid)
    if report is None and not error:
        error = f"the checks ended without a verdict: {processes.describe(status)}"
    return Outcome(report, "" if report else error)


def _pump(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        log.warning("the checks printed something that is not JSON", extra={"length": len(line)})
        return {}
    return said if isinstance(said, dict) else {}
