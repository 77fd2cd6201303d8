"""The steps taken for a check on this machine, kept on its disk (a restart keeps that): none is taken twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

RESTART, RECREATE, REALLOCATE = "restart", "recreate", "reallocate"


class Ladder:
    """What was tried on one machine. A file that cannot be read counts as empty: the ledger counts too."""

    def __init__(self, state_dir: Path, machine: str) -> None:
        self._path = state_dir / "preflight" / "ladder.json"
        self._machine = machine

    def tried(self, check: str) -> tuple[str, ...]:
        """Steps taken for this check on this machine."""
        return tuple(self._known().get(f"{self._machine} {check}", ()))

    def remember(self, check: str, step: str) -> None:
        """Before the step is taken. Raises OSError: what cannot be remembered must not be done."""
        known = self._known()
        steps = known.setdefault(f"{self._machine} {check}", [])
        if step in steps:
            return
        steps.append(step)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temp = self._path.with_name("ladder.json.tmp")
        temp.write_text(json.dumps(known))
        os.replace(temp, self._path)

    def _known(self) -> dict[str, list[str]]:
        try:
            raw = json.loads(self._path.read_text())
            return {str(name): [str(step) for step in steps] for name, steps in raw.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}
