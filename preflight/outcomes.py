"""What a start and an end come to, in words and documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.examination import Outcome
from sync.status import State, Status

HERE = "in the folder on this machine"


def last_words(status: Status | None, ended: int | None) -> str:
    """What somebody who stopped the node wants to know. `ended`: exit status of sync's last life, below 0 when killed.

    "Everything is saved" only if sync itself ended with that word: the document of one that was killed proves nothing.
    """
    if status is None:
        return "Stopped. Whether everything is saved is not known."
    if not status.store:
        return f"Stopped. Nothing is saved: no bucket is configured. Your work is {HERE}."
    if status.state is State.FENCED:
        return f"Stopped. A newer node has taken over; what was not saved is under .preflight/stranded/ and {HERE}."
    if ended is None or ended < 0:
        return f"Stopped. The last save was cut short: what it had left is {HERE} and is saved at the next start here."
    why = f" ({status.why})" if status.why else ""
    if status.pending_files:
        files = "1 file is" if status.pending_files == 1 else f"{status.pending_files} files are"
        return f"Stopped. {files} not saved{why}, but {HERE}."
    if ended == 0:
        return f"Stopped. Everything is saved in {status.store}."
    if status.state is State.HELD:
        return f"Stopped. Everything is saved in {status.store}; {status.held_count} deletes are held back there."
    if not status.restored:
        return f"Stopped before the folder was restored{why}. What is {HERE} stays there."
    return f"Stopped. Not everything is saved{why}: what is missing is {HERE}."


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
