"""Answers as documents: Kubernetes' text, health+json, MicroProfile, and what `/report`, `/sync` and the page show."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from preflight.board import Answer, Board, Level, Line, Stage, min_warn
from preflight.outcomes import served_report
from sync.status import STALE_AFTER_S

KINDS = ("startupz", "livez", "readyz")
MICROPROFILE = {"started": "startupz", "ready": "readyz", "live": "livez"}
FINDING_SHOWN = ("name", "title", "status", "observed", "unit", "required", "why", "advice")
SYNC_SHOWN = (
    "state", "why", "hint", "stale", "restore", "restored", "pending_files", "pending_bytes", "oldest_pending_s",
    "last_durable_at", "held_count",
)  # fmt: skip
ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*[^\s.,;:)]")
LEAVING = frozenset({Stage.STOPPING, Stage.HANDING_BACK})


@cache
def release() -> str:
    """The version of this distribution."""
    return version("preflight-lab")


def narrowed(answer: Answer, name: str, *, exclude: str, strict: bool) -> Answer:
    """The answer about one line only, or without one, or with warnings counted as failures."""
    lines = tuple(line for line in answer.lines if line.name != exclude and (not name or line.name == name))
    if name:
        return Answer(
            all(line.level is not Level.FAIL and not (strict and line.level is Level.WARN) for line in lines), lines
        )
    if strict:
        return Answer(all(line.level is Level.PASS for line in lines), lines)
    if exclude:
        return Answer(all(line.level is not Level.FAIL for line in lines), lines)
    return Answer(answer.ok, lines)


def page_counts(board: Board, answer: Answer) -> Answer:
    """`?page=1`: whatever the app's port shows to people counts: the app, or our page in its place.

    For gateways that would hide the page, and for platforms that throw a node away when it is not ready for long.
    Only a node on its way out is not ready then.
    """
    stage = board.facts.stage
    if stage in LEAVING:
        return answer
    page = Line("page", Level.PASS, f"the page stands in for it ({stage.value})")
    return Answer(True, (page, *(dataclasses.replace(one, level=min_warn(one.level)) for one in answer.lines)))


def verbose_text(kind: str, answer: Answer) -> str:
    """As Kubernetes' own components answer `?verbose`; `[!]` marks a warning that does not fail the probe."""
    marks = {Level.PASS: "[+]{0} ok", Level.WARN: "[!]{0} warning", Level.FAIL: "[-]{0} failed"}
    lines = [marks[line.level].format(line.name) + (f": {line.why}" if line.why else "") for line in answer.lines]
    return "\n".join([*lines, f"{kind} check {'passed' if answer.ok else 'failed'}", ""])


def microprofile(answer: Answer) -> dict[str, Any]:
    """MicroProfile Health's shape."""
    checks = [
        {"name": line.name, "status": "DOWN" if line.level is Level.FAIL else "UP", "data": {"why": line.why}}
        for line in answer.lines
    ]
    return {"status": "UP" if answer.ok else "DOWN", "checks": checks}


def health_json(board: Board, answer: Answer) -> dict[str, Any]:
    """`application/health+json` (an expired draft that monitors still read): one entry a line and a check."""
    worst = Level.PASS if all(line.level is Level.PASS for line in answer.lines) else Level.WARN
    now = datetime.fromtimestamp(board.clock.now(), UTC).isoformat(timespec="seconds")
    checks: dict[str, list[dict[str, Any]]] = {
        line.name: [{"componentType": "component", "status": line.level.value, "output": line.why, "time": now}]
        for line in answer.lines
    }
    for check in (board.facts.report or {}).get("checks", ()):
        entry = {
            "componentType": "system",
            "status": {"pass": "pass", "skip": "pass", "fail": "fail"}.get(str(check.get("status")), "warn"),
            "observedValue": check.get("observed"),
            "observedUnit": check.get("unit"),
            "output": check.get("why") or "",
            "time": (board.facts.report or {}).get("decided_at"),
        }
        checks[str(check.get("name"))] = [entry]
    return {
        "status": (worst if answer.ok else Level.FAIL).value,
        "version": "1",
        "releaseId": release(),
        "serviceId": board.facts.machine,
        "description": "node and notebook health",
        "checks": checks,
    }


def report_document(board: Board) -> Mapping[str, Any] | None:
    """The last report; for wrong settings, what would stand in its place."""
    facts = board.facts
    if facts.report is not None:
        return served_report(facts.report, board.sync())
    if not facts.faults and not facts.report_error:
        return None
    why = "the settings are wrong" if facts.faults else facts.report_error
    faults = [
        {"name": "settings", "status": "fail", "blame": "account", "observed": None, "required": "", "unit": "",
         "why": fault, "advice": "correct the variable and start again", "took_s": 0.0, "severity": "warn"}
        for fault in facts.faults
    ]  # fmt: skip
    return {
        "verdict": "degraded", "machine": facts.machine, "platform": facts.platform,
        "decided_at": datetime.fromtimestamp(board.clock.now(), UTC).isoformat(), "took_s": 0.0,
        "checks": [*faults, *facts.findings], "findings": faults,
        "action": {"kind": "none", "reason": "", "outcome": ""}, "trace": [why],
    }  # fmt: skip


def sync_document(board: Board) -> dict[str, Any]:
    """Sync's status, with whether it may be believed."""
    status = board.sync()
    if status is None:
        why = "sync has not said anything yet" if board.facts.sync_expected else "no bucket is configured"
        return {"state": "starting" if board.facts.sync_expected else "failed", "why": why, "stale": True, "store": "",
                "pending_files": 0, "pending_bytes": 0, "oldest_pending_s": 0.0, "last_durable_at": None, "epoch": 0,
                "held": [], "conflicts": [], "requests": {}}  # fmt: skip
    age_s = max(0.0, board.clock.now() - status.updated_at)
    document = dataclasses.asdict(status) | {"age_s": age_s, "stale": age_s > STALE_AFTER_S}
    if age_s > STALE_AFTER_S:
        document["why"] = f"sync's last word is {age_s:.0f} s old: nothing is known to be saved since"
    return document


def page_document(board: Board) -> dict[str, Any]:
    """All that the page for people shows. JupyterLab's port is open to everybody until JupyterLab asks for its
    password, so nothing here names a file, a bucket or a credential."""
    facts = board.facts
    condition, why = board.condition()
    sync = sync_document(board)
    report = report_document(board)
    shown = _unaddressed(
        {
            "condition": condition.value,
            "why": why,
            "stage": facts.stage.value,
            "app": facts.app_name,
            "machine": facts.machine,
            "platform": facts.platform,
            "release": release(),
            "up_s": board.clock.monotonic() - facts.started_s,
            "faults": facts.faults,
            "warnings": (*facts.warnings, *(sync.get("capability") or {}).get("notes", ())),
            "report": report
            and {
                "verdict": report["verdict"],
                "checks": [_shown(one) for one in report["checks"]],
                "outcome": report.get("action", {}).get("outcome", ""),
            },
            "findings": [_shown(one) for one in facts.findings],
            "sync": {name: sync.get(name) for name in SYNC_SHOWN} | {"conflict_count": len(sync.get("conflicts", ()))},
            "ready": board.answer("readyz").ok,
            "services": services(board),
            "monitor": {"findings": [_shown(one) for one in facts.monitor.get("findings", ())]},
        }
    )
    return {**shown, "url": facts.url}


def _unaddressed(said: Any) -> Any:
    """Without addresses, in every text of it: an error of a bucket's client likes to name bucket and file."""
    if isinstance(said, str):
        return ADDRESS.sub("…", said)
    if isinstance(said, Mapping):
        return {name: _unaddressed(one) for name, one in said.items()}
    return [_unaddressed(one) for one in said] if isinstance(said, list | tuple) else said


def _shown(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {name: finding.get(name) for name in FINDING_SHOWN}


def services(board: Board) -> list[dict[str, Any]]:
    """Our children, for the page."""
    view = board.facts.view
    if view is None:
        return []
    return [
        {"name": service.name, "phase": child.phase.value, "restarts": child.restarts, "why": child.reason,
         "looping": service.name in view.looping()}
        for service, child in zip(view.services, view.children, strict=True)
    ]  # fmt: skip
