"""What is known about this node right now, and what each probe answers to it.

Facts are posted by whoever learns them; `answer` weighs them when asked. A reading that was never posted or is
older than its limit is not green, and says so. Nothing here waits, so no probe can hang on a bucket or a GPU.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from preflight.supervisor import Phase, View
from sync.clock import Clock
from sync.status import STALE_AFTER_S, State, StatusFile
from sync.status import Status as SyncStatus

READY_STALE_AFTER_S = 30.0  # JupyterLab is asked every 5 s with a 3 s limit: six chances
LOOP_STALE_AFTER_S = 300.0  # only a supervisor that is beyond hope says so: a failed /livez costs the node
MONITOR_STALE_AFTER_S = 180.0
LAG_NOTABLE_S = 60.0  # a change that waits longer is said, even while sync still tries


class Stage(enum.StrEnum):
    """How far the start has come."""

    CHECKING = "checking"
    HANDING_BACK = "handing back"
    RESTORING = "restoring"
    OPENING = "opening"
    OPEN = "open"
    STOPPING = "stopping"
    BAD_SETTINGS = "bad settings"


class Condition(enum.StrEnum):
    """The one word about the whole node."""

    STARTING = "STARTING"
    READY = "READY"
    BUSY = "BUSY"
    DEGRADED = "DEGRADED"
    DRAINING = "DRAINING"
    FAILED = "FAILED"


class Level(enum.StrEnum):
    """Of one line of an answer. Only `fail` of a line that the probe depends on makes it fail."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing a probe looked at."""

    name: str
    level: Level
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one probe: 200 exactly when `ok`."""

    ok: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything posted so far. Times are monotonic seconds of the board's clock."""

    stage: Stage = Stage.CHECKING
    platform: str = ""
    machine: str = ""
    started_s: float = 0.0
    faults: tuple[str, ...] = ()  # of the settings
    warnings: tuple[str, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()  # checks as they finish
    report: Mapping[str, Any] | None = None
    report_error: str = ""  # why there is none
    beat_s: float | None = None
    opened_after_s: float | None = None  # from the start to the app's first answer
    app_name: str = "jupyterlab"  # "app" for a command of the user's own
    app_ok: bool = False
    app_why: str = "it was not started yet"
    app_at_s: float | None = None
    busy_why: str = ""
    view: View | None = None
    sync_expected: bool = True
    url: str = ""
    monitor: Mapping[str, Any] = field(default_factory=dict)  # what the monitor last said
    monitor_at_s: float | None = None


class Board:
    """Thread-safe; every method returns at once."""

    def __init__(self, clock: Clock, state_dir: Path | None = None) -> None:
        self.clock = clock
        self._status = StatusFile(state_dir) if state_dir is not None else None
        self._lock = threading.Lock()
        now_s = clock.monotonic()
        self._facts = Facts(started_s=now_s, beat_s=now_s)

    def post(self, **changes: Any) -> None:
        """Replace the named facts."""
        with self._lock:
            self._facts = replace(self._facts, **changes)

    def use(self, state_dir: Path) -> None:
        """Where sync's status document lives."""
        self._status = StatusFile(state_dir)

    def add_finding(self, finding: Mapping[str, Any]) -> None:
        """One more check has finished."""
        with self._lock:
            self._facts = replace(self._facts, findings=(*self._facts.findings, finding))

    def beat(self) -> None:
        """The supervisor's loop is alive."""
        self.post(beat_s=self.clock.monotonic())

    @property
    def facts(self) -> Facts:
        """A consistent copy."""
        return self._facts

    def sync(self) -> SyncStatus | None:
        """Sync's last word, None when there is none or it is another life's."""
        status = self.last_sync()
        view = self._facts.view
        if status is None or view is None:
            return None
        pids = [
            child.pid for service, child in zip(view.services, view.children, strict=True) if service.name == "sync"
        ]
        return status if pids and (status.pid == pids[0] or not pids[0]) else None

    def last_sync(self) -> SyncStatus | None:
        """Its last document, whoever wrote it: after the end nobody runs who could confirm it."""
        return self._status.read() if self._status is not None else None

    def answer(self, kind: str) -> Answer:
        """What `startupz`, `livez` or `readyz` says now."""
        facts, now_s = self._facts, self.clock.monotonic()
        match kind:
            case "livez":
                lines = (loop_line(facts, now_s),)
                return Answer(lines[0].level is not Level.FAIL, lines)
            case "startupz":
                lines = (verdict_line(facts),)
                return Answer(lines[0].level is not Level.FAIL, lines)
            case _:
                app = app_line(facts, now_s)
                sync = sync_line(facts, self.sync(), self.clock.now())
                # In the order of what matters to whoever reads only the first: is my work safe, then the node.
                others = (sync, verdict_line(facts), *services_lines(facts), *monitor_lines(facts, now_s))
                softened = tuple(Line(one.name, min_warn(one.level), one.why) for one in others)
                return Answer(app.level is Level.PASS, (app, *softened))

    def condition(self) -> tuple[Condition, str]:
        """The one word, and why."""
        facts = self._facts
        answer = self.answer("readyz")
        worst = next((line for line in answer.lines if line.level is not Level.PASS), None)
        why = f"{worst.name}: {worst.why}" if worst else ""
        if facts.stage is Stage.BAD_SETTINGS:
            return Condition.FAILED, facts.faults[0] if facts.faults else ""
        if facts.stage in (Stage.STOPPING, Stage.HANDING_BACK):
            return Condition.DRAINING, facts.stage.value
        if not answer.ok:
            looping = facts.view is not None and bool(facts.view.looping())
            was_open = facts.stage is Stage.OPEN
            return (Condition.FAILED if looping or was_open else Condition.STARTING), answer.lines[0].why
        if facts.busy_why:
            return Condition.BUSY, facts.busy_why
        return (Condition.DEGRADED, why) if worst else (Condition.READY, "")


def min_warn(level: Level) -> Level:
    """A problem that must not take the notebook away."""
    return Level.WARN if level is Level.FAIL else level


def loop_line(facts: Facts, now_s: float) -> Line:
    """Whether the supervisor's own loop turns. Depends on nothing else."""
    age_s = now_s - facts.beat_s if facts.beat_s is not None else float("inf")
    if age_s > LOOP_STALE_AFTER_S:
        return Line("supervisor", Level.FAIL, f"its loop has not turned for {age_s:.0f} s")
    return Line("supervisor", Level.PASS, f"its loop turned {max(0.0, age_s):.0f} s ago")


def verdict_line(facts: Facts) -> Line:
    """Whether the node may be used, as far as the checks know."""
    if facts.stage is Stage.BAD_SETTINGS:
        # Another node would have the same settings: a failed startup probe would only burn this one.
        return Line("verdict", Level.WARN, "the settings are wrong: " + "; ".join(facts.faults))
    if facts.stage is Stage.HANDING_BACK:
        return Line("verdict", Level.FAIL, "reject: the platform was asked for another node")
    if facts.report_error:
        return Line("verdict", Level.WARN, facts.report_error)
    if facts.report is None:
        return Line("verdict", Level.FAIL, f"not in yet: {len(facts.findings)} checks have finished")
    verdict = str(facts.report.get("verdict", ""))
    if verdict == "accept":
        return Line("verdict", Level.PASS, "accept")
    reasons = [
        f"{finding.get('title') or finding.get('name')}: {finding['why']}"
        for finding in facts.report.get("findings", ())
        if finding.get("why")
    ]
    return Line("verdict", Level.WARN, f"{verdict}: " + "; ".join(reasons))


def app_line(facts: Facts, now_s: float) -> Line:
    """Whether JupyterLab (or the user's own server) answers."""
    if facts.app_at_s is None or not facts.app_ok:
        return Line(facts.app_name, Level.FAIL, why_down(facts))
    age_s = now_s - facts.app_at_s
    if age_s > READY_STALE_AFTER_S:
        return Line(facts.app_name, Level.FAIL, f"its last answer is {age_s:.0f} s old")
    return Line(facts.app_name, Level.PASS, f"it answered {max(0.0, age_s):.0f} s ago")


def why_down(facts: Facts) -> str:
    """Why the app does not answer: with what ended its last life, also in the moments in which it runs again."""
    for service, child in zip(facts.view.services, facts.view.children, strict=True) if facts.view else ():
        if service.name == "app" and child.died:
            return child.reason
    return facts.app_why


def sync_line(facts: Facts, status: SyncStatus | None, now: float) -> Line:
    """Whether the folder is being saved. Never takes the notebook away."""
    if not facts.sync_expected:
        return Line("sync", Level.WARN, "no bucket is configured: nothing is saved")
    if status is None:
        return Line("sync", Level.WARN, "it has not said anything yet")
    age_s = now - status.updated_at
    if age_s > STALE_AFTER_S:
        return Line("sync", Level.WARN, f"its last word is {age_s:.0f} s old: nothing is known to be saved since")
    lag_s = status.oldest_pending_s + max(0.0, age_s) if status.pending_files else 0.0
    if status.state in (State.SAVED, State.SAVING) and lag_s <= LAG_NOTABLE_S:
        return Line("sync", Level.PASS, status.state.value)
    if status.state in (State.SAVED, State.SAVING):
        files = "1 file waits" if status.pending_files == 1 else f"{status.pending_files} files wait"
        return Line("sync", Level.WARN, f"{files}, the oldest for {lag_s:.0f} s")
    why = f"{status.state.value}: {status.why}" if status.why else status.state.value
    return Line("sync", Level.WARN, why + (f" ({status.hint})" if status.hint else ""))


def services_lines(facts: Facts) -> tuple[Line, ...]:
    """A line for each service that is down, or that dies so often that its present life says nothing."""
    if facts.view is None:
        return ()
    lines = []
    for service, child in zip(facts.view.services, facts.view.children, strict=True):
        loops = child.deaths >= service.crash_loop_at and not child.ready
        if child.phase is Phase.BACKOFF or (child.phase in (Phase.STARTING, Phase.RUNNING) and loops):
            times = f"{child.deaths} times in a row" if child.deaths > 1 else "once"
            said = f"it died {times} and is started again: {child.died}"
            lines.append(Line(f"service.{service.name}", Level.WARN, said))
    return tuple(lines)


def monitor_lines(facts: Facts, now_s: float) -> tuple[Line, ...]:
    """What the monitor found while the node was in use."""
    if facts.monitor_at_s is None:
        return ()
    age_s = now_s - facts.monitor_at_s
    if age_s > MONITOR_STALE_AFTER_S:
        return (Line("monitor", Level.WARN, f"its last word is {age_s:.0f} s old"),)
    found = facts.monitor.get("findings", ())
    return tuple(Line(str(one.get("name", "")), Level.WARN, str(one.get("why", ""))) for one in found)
