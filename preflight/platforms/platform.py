"""What every place to run states about itself and can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProbeEffects:
    """What the platform does when a probe fails: "reallocates", "restarts", "hides", "replaces" or "nothing"."""

    startup: str = "nothing"
    live: str = "nothing"
    ready: str = "nothing"


class Platform(Protocol):
    """One place to run. Only `preflight.reallocation` may call `reallocate`."""

    name: str  # salad | gongji | none
    can_reallocate: bool  # from inside the container, without a key
    can_restart: bool
    group: str  # what shares one fleet ledger: the container group's name, or "local"
    probe_effects: ProbeEffects
    exit_burns_node: bool  # a non-zero exit of the entrypoint costs the node

    def machine(self) -> str:
        """The node's stable identity (never empty)."""
        ...

    def reallocate(self, reason: str) -> None:
        """Ask for another node, once (1..1000 characters). Raises ImdsError; then the outcome is unknown or no."""
        ...

    def restart(self) -> None:
        """Start this container again on the same node, keeping its disk. Raises ImdsError."""
        ...

    def recreate(self) -> None:
        """A fresh container on the same node. Raises ImdsError."""
        ...

    def deletion_cost(self) -> int:
        """How late this instance goes on a scale-in (0 = first). Raises ImdsError."""
        ...

    def set_deletion_cost(self, cost: int) -> None:
        """Raises ImdsError."""
        ...
