"""Where the container runs, and what that place can do: identity, another node, the meaning of a failed probe.

The same failed probe means opposite things on two clouds, so every platform states its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from preflight.platforms.platform import Platform, ProbeEffects
from sync.clock import Clock

__all__ = ["Platform", "ProbeEffects", "detect"]


def detect(environ: Mapping[str, str], clock: Clock) -> Platform:
    """The platform we run on: PREFLIGHT_PLATFORM decides; "auto" is Salad only when its IMDS answers too.

    People set SALAD_MACHINE_ID by hand in local tests, so the variable alone proves nothing.
    """
    from preflight.platforms.bare import Bare
    from preflight.platforms.gongji import Gongji
    from preflight.platforms.salad import Salad

    wanted = environ.get("PREFLIGHT_PLATFORM", "auto").strip().lower() or "auto"
    if wanted == "gongji":
        return Gongji(environ)
    if wanted == "salad" or (wanted == "auto" and environ.get("SALAD_MACHINE_ID")):
        salad = Salad(environ, clock)
        if wanted == "salad" or salad.answers():
            return salad
    return Bare(environ)
