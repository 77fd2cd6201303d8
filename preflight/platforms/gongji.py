"""Gongji (共绩): Kubernetes behind; no metadata service, so a node can only be exchanged from outside, with a key.

A failed liveness probe restarts the container in place; a failed readiness probe replaces the node and
loses what was not saved, so `/readyz` must not flap there.
"""

from __future__ import annotations

from collections.abc import Mapping

from preflight.errors import ImdsError
from preflight.platforms.bare import Bare
from preflight.platforms.platform import ProbeEffects


class Gongji(Bare):
    """A container on Gongji. Its pod name is the only identity that it has."""

    name = "gongji"
    probe_effects = ProbeEffects(startup="restarts", live="restarts", ready="replaces")

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.exit_burns_node = True  # a crash loop there ends like a rejected node
        # "deployment-5-8vxr7frs-abc": the deployment is what the replicas share.
        pod = environ.get("HOSTNAME", "")
        self.group = environ.get("PREFLIGHT_GROUP") or "-".join(pod.split("-")[:2]) or "gongji"

    def machine(self) -> str:
        return self._environ.get("HOSTNAME") or super().machine()

    def reallocate(self, reason: str) -> None:
        raise ImdsError("Gongji exchanges a node only from its console or API: delete this node there")
