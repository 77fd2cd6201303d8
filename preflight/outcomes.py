"""What a start and an end come to, in words and documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.examination import Outcome
from sync.status import Status


def last_words(status: Status | None) -> str:
    """What somebody who stopped the node wants to know."""
    if status is None:
        return "Stopped. Whether everything is saved is not known."
    if status.pending_files:
        return f"Stopped. {status.pending_files} files are not saved: they are in the folder on this machine."
    return f"Stopped. Everything is saved in {status.store}." if status.store else "Stopped. Nothing is saved."


def kept_report(report: Mapping[str, Any], waited_s: float) -> dict[str, Any]:
    """The report of a node that was handed back and is still here: used, degraded, not asked for again."""
    why = f"the platform accepted, but the node was still alive {waited_s:.0f} s later"
    action = {**report.get("action", {}), "outcome": f"node kept: {why}"}
    return {**report, "verdict": "degraded", "action": action, "trace": [*report.get("trace", ()), f"node kept: {why}"]}


def served_report(report: Mapping[str, Any], status: Status | None) -> dict[str, Any]:
    """The report as `/report`, `preflight report` and the Python API show it: with what the bucket can really do.

    The sync child learns that beside its work, after the verdict; {} as long as it does not know.
    """
    return {**report, "bucket": dict(status.capability) if status is not None else {}}


def account_faults(outcome: Outcome, variables: str) -> list[str]:
    """Wrong credentials or a bucket that does not exist: on a machine of the user's own, a reason not to start."""
    checks = (outcome.report or {}).get("checks", ())
    return [
        f"{variables}: " + "; ".join(str(part) for part in (check.get("why"), check.get("advice")) if part)
        for check in checks
        if check.get("status") == "fail"
        and check.get("blame") == "account"
        and str(check.get("name")).startswith("bucket.")
    ]
