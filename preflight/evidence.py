"""The evidence of a verdict as one JSON document: samples, limits, decision trace; enough to decide again later.

Kept in the state folder (the last 50) and in the bucket's ledger, where `preflight history`, `replay` and
`suggest` read it. Its schema is `evidence.schema.json`; a document of another version is left out, never guessed at.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from preflight.examine import Examined, Setup, open_ledger_store
from preflight.last_report import keep_report
from preflight.ledger import Ledger, evidence_name
from preflight.model import Blame, Finding, Limit, Measurement, Report, Severity
from preflight.platforms import Platform
from preflight.policy import Policy
from sync.clock import Clock
from sync.errors import SyncError

VERSION = 1
KEEP_LOCAL = 50
LEDGER_S = 5.0  # the bucket may hang; the start must not
_log = logging.getLogger(__name__)


def report_document(report: Report) -> dict[str, Any]:
    """The Report as `/report` and `preflight check --json` show it."""
    return {
        "verdict": report.verdict.value,
        "machine": report.machine,
        "platform": report.platform,
        "decided_at": report.decided_at.isoformat(),
        "took_s": round(report.took_s, 3),
        "checks": [finding_document(finding) for finding in report.checks],
        "findings": [finding_document(finding) for finding in report.findings],
        "action": {
            "kind": report.action.kind,
            "reason": report.action.reason,
            "outcome": report.action.outcome,
            "done": report.action.done,
        },
        "reject_for": report.reject_for,
        "trace": list(report.trace),
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """One finding as JSON values; numbers that JSON cannot carry become null."""
    return {
        "name": finding.name,
        "status": finding.status.value,
        "blame": finding.blame.value if finding.blame else None,
        "observed": _plain(finding.observed),
        "required": finding.required,
        "unit": finding.unit,
        "why": finding.why,
        "advice": finding.advice,
        "took_s": round(finding.took_s, 3),
        "severity": finding.severity.value,
        "confirmed": finding.confirmed,
        "code": finding.code,
        "detail": _plain(finding.detail),
    }


def evidence_document(examined: Examined, setup: Setup, platform: Platform) -> dict[str, Any]:
    """Everything that led to the verdict."""
    return {
        "version": VERSION,
        "report": report_document(examined.report),
        "group": platform.group,
        "measurements": [measurement_document(one) for one in examined.measurements],
        "confirmations": [measurement_document(one) for one in examined.confirmations],
        "limits": {name: limit_document(rule.limit) for name, rule in setup.policy.rules.items()},
        "fleet": {
            "readable": examined.fleet.readable,
            "why_not": examined.fleet.why_not,
            "tokens_used": examined.fleet.tokens_used,
            "tokens": setup.policy.tokens,
            "machines_failing": dict(examined.fleet.machines_failing),
            "demoted": sorted(examined.fleet.demoted),
        },
    }


def measurement_document(seen: Measurement) -> dict[str, Any]:
    """One measurement as JSON values."""
    return {
        "name": seen.name,
        "unit": seen.unit,
        "value": _plain(seen.value),
        "why_not": seen.why_not,
        "skipped": seen.skipped,
        "failed": seen.failed,
        "blame": seen.blame.value if seen.blame else None,
        "advice": seen.advice,
        "at": seen.at.isoformat() if seen.at else None,
        "took_s": round(seen.took_s, 4),
        "detail": _plain(seen.detail),
    }


def measurement_from(document: Mapping[str, Any]) -> Measurement:
    """The measurement back from its document. Raises KeyError, ValueError or TypeError for another form."""
    return Measurement(
        name=str(document["name"]),
        unit=str(document["unit"]),
        value=document["value"],
        why_not=document["why_not"],
        skipped=bool(document["skipped"]),
        failed=bool(document["failed"]),
        blame=Blame(document["blame"]) if document["blame"] else None,
        advice=str(document["advice"]),
        at=datetime.fromisoformat(document["at"]) if document["at"] else None,
        took_s=float(document["took_s"]),
        detail=document["detail"] or {},
    )


def limit_document(limit: Limit) -> dict[str, Any]:
    """A limit's thresholds and meaning (its texts are in the docs)."""
    return {
        "at_least": limit.at_least,
        "at_most": limit.at_most,
        "severity": limit.severity.value,
        "blame": limit.blame.value,
    }


def limit_from(document: Mapping[str, Any]) -> Limit:
    """The limit back from its document. Raises KeyError or ValueError for another form."""
    return Limit(
        at_least=document["at_least"],
        at_most=document["at_most"],
        severity=Severity(document["severity"]),
        blame=Blame(document["blame"]),
    )


def keep(examined: Examined, setup: Setup, *, platform: Platform, clock: Clock, in_ledger: bool) -> None:
    """Keep the evidence here and, within 5 s, in the ledger. A place that does not take it is logged, no more."""
    document = evidence_document(examined, setup, platform)
    report = examined.report
    name = evidence_name(report.decided_at, report.machine)
    _keep_here(document, setup.state_dir, name)
    if not in_ledger or not setup.stores or not setup.durable_ledger:
        return
    thread = threading.Thread(
        target=_keep_in_ledger, args=(document, name, examined, setup, platform), name="evidence", daemon=True
    )
    thread.start()
    thread.join(LEDGER_S)
    if thread.is_alive():
        _log.warning("the ledger did not take the evidence in time")


def _keep_here(document: Mapping[str, Any], state_dir: Path, name: str) -> None:
    folder = evidence_folder(state_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temp = folder / f"{name}.tmp"
        temp.write_text(json.dumps(document, allow_nan=False))
        os.replace(temp, folder / f"{name}.json")
        for old in sorted(folder.glob("*.json"))[:-KEEP_LOCAL]:
            old.unlink(missing_ok=True)
        keep_report(document["report"], state_dir)
    except OSError as error:
        _log.warning("the evidence could not be kept here", extra={"folder": str(folder), "why": str(error)})


def _keep_in_ledger(
    document: Mapping[str, Any], name: str, examined: Examined, setup: Setup, platform: Platform
) -> None:
    try:
        store = open_ledger_store(setup)
        try:
            ledger = Ledger(store, platform.group, platform.machine())
            ledger.note(*passed_and_failed(examined, setup.policy))
            ledger.keep_evidence(document, name)
        finally:
            store.close()
    except SyncError as error:
        _log.warning("the ledger did not take the evidence", extra={"why": error.what})


def passed_and_failed(examined: Examined, policy: Policy) -> tuple[list[str], list[str]]:
    """Checks that could cost a node: those that this one passed, and those that it failed twice."""
    passed, failed = [], []
    for finding in examined.report.checks:
        rule = policy.rules.get(finding.name)
        if rule is None or rule.limit.severity is not Severity.REJECT:
            continue
        if finding.status.value == "pass":
            passed.append(finding.name)
        elif finding.confirmed:
            failed.append(finding.name)
    return passed, failed


def evidence_folder(state_dir: Path) -> Path:
    """Where the state folder keeps it."""
    return state_dir / "preflight" / "evidence"


def local_evidence(state_dir: Path) -> Iterator[dict[str, Any]]:
    """What the state folder holds, oldest first; unreadable documents are left out with a warning."""
    for path in sorted(evidence_folder(state_dir).glob("*.json")):
        try:
            document = json.loads(path.read_text())
        except (OSError, ValueError):
            _log.warning("an evidence document cannot be read", extra={"path": str(path)})
            continue
        if isinstance(document, dict) and document.get("version") == VERSION:
            yield document


def _plain(value: object) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_plain(one) for one in value]
    return str(value)
