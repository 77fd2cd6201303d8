"""The evidence of this node and of the fleet; run as a child that has the keys, prints documents and no secret."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from preflight.assessment import setup_from
from preflight.evidence import local_evidence
from preflight.examine import Setup, open_ledger_store
from preflight.ledger import Ledger
from sync.errors import SyncError
from sync.secrecy import hide_process


def fleet_evidence(setup: Setup, group: str, limit: int) -> list[dict[str, Any]]:
    """Newest `limit` documents, oldest first: the bucket's and this machine's own, each once. Raises SyncError."""
    found = {key_of(one): one for one in local_evidence(setup.state_dir)}
    if setup.stores:
        ledger = Ledger(open_ledger_store(setup), group, "reader")
        found |= {key_of(one): one for one in ledger.evidence()}
    return [found[key] for key in sorted(found)][-limit:]


def key_of(document: dict[str, Any]) -> tuple[str, str]:
    """When, and where."""
    report = document.get("report") or {}
    return str(report.get("decided_at")), str(report.get("machine"))


def main(argv: Sequence[str]) -> int:
    """`[LIMIT]`: print a JSON list."""
    hide_process()
    from preflight.platforms import detect
    from sync.clock import SystemClock

    limit = int(argv[0]) if argv else 200
    try:
        setup = setup_from(os.environ)
        group = detect(os.environ, SystemClock()).group
        documents = fleet_evidence(setup, group, limit)
    except SyncError as failed:
        print(failed, file=sys.stderr)  # noqa: T201
        return 3
    json.dump(documents, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
