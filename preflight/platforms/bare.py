"""Any machine that is no platform we know: a laptop, a lab server, CI. Nothing can be handed back."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from preflight.errors import ImdsError
from preflight.platforms.platform import ProbeEffects


class Bare:
    """A machine of the user's own."""

    name = "none"
    can_reallocate = False
    can_restart = False
    probe_effects = ProbeEffects()

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.group = environ.get("PREFLIGHT_GROUP") or "local"
        # SALAD_MACHINE_ID without an answering IMDS: perhaps a broken node. Exiting could still burn it.
        self.exit_burns_node = bool(environ.get("SALAD_MACHINE_ID"))

    def machine(self) -> str:
        return self._environ.get("SALAD_MACHINE_ID") or socket.gethostname() or "localhost"

    def reallocate(self, reason: str) -> None:
        raise ImdsError("this machine cannot be exchanged for another one: there is no platform to ask")

    def restart(self) -> None:
        raise ImdsError("this machine's container cannot be restarted from inside")

    def recreate(self) -> None:
        raise ImdsError("this machine's container cannot be recreated from inside")

    def deletion_cost(self) -> int:
        raise ImdsError("this machine has no deletion cost")

    def set_deletion_cost(self, cost: int) -> None:
        raise ImdsError("this machine has no deletion cost")
