"""Salad: identity from the environment, everything else from the node's metadata service (IMDS).

Plain `requests`, never the vendor's SDK: that one repeats POST on 5xx, follows proxies and waits 60 s. IMDS
refuses requests without `Metadata: true`, with X-Forwarded-* headers, or through a proxy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import requests

from preflight.errors import ImdsError
from preflight.platforms.platform import ProbeEffects
from sync.clock import Clock

DEFAULT_IMDS = "http://169.254.169.254"
TIMEOUT_S = 3.0  # link-local: a healthy IMDS answers in milliseconds
REASON_MAX = 1000  # characters, by the API's schema

_log = logging.getLogger(__name__)


class Salad:
    """A container on a Salad node."""

    name = "salad"
    can_reallocate = True
    can_restart = True
    # A failed startup or liveness probe costs the node; a failed readiness probe only takes traffic away.
    probe_effects = ProbeEffects(startup="reallocates", live="reallocates", ready="hides")
    exit_burns_node = True

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._environ = environ
        self._clock = clock
        self._url = (environ.get("SALAD_METADATA_URI") or DEFAULT_IMDS).rstrip("/")
        self.group = (
            environ.get("PREFLIGHT_GROUP")
            or environ.get("SALAD_CONTAINER_GROUP_ID")
            or environ.get("SALAD_CONTAINER_GROUP_NAME")
            or "salad"
        )

    def machine(self) -> str:
        """Salad's machine id: the node, whatever container runs on it."""
        return self._environ.get("SALAD_MACHINE_ID") or "unknown-salad-machine"

    def answers(self) -> bool:
        """Whether a real IMDS is there: SALAD_MACHINE_ID alone proves nothing, people set it by hand."""
        for _ in range(2):  # GET only: a second look cannot do harm
            try:
                status = self._call("GET", "/v1/status", ok=(200,))
            except ImdsError:
                _log.info("the metadata service did not answer", extra={"url": self._url})
                continue
            return isinstance(status, dict) and "ready" in status
        return False

    def status(self) -> dict[str, bool]:
        """What the platform believes: `ready` and `started`. Raises ImdsError."""
        answer = self._call("GET", "/v1/status", ok=(200,))
        if not isinstance(answer, dict) or not {"ready", "started"} <= set(answer):
            raise ImdsError("the metadata service's status has an unknown form")
        return {"ready": bool(answer["ready"]), "started": bool(answer["started"])}

    def reallocate(self, reason: str) -> None:
        """Ask for another node: one POST, never repeated (its outcome is unknown after a timeout)."""
        self._call("POST", "/v1/reallocate", ok=(204,), body={"reason": reason[:REASON_MAX] or "unfit"})

    def restart(self) -> None:
        self._call("POST", "/v1/restart", ok=(204,))

    def recreate(self) -> None:
        self._call("POST", "/v1/recreate", ok=(204,))

    def deletion_cost(self) -> int:
        answer = self._call("GET", "/v1/deletion-cost", ok=(200,))
        try:
            return int(answer["deletion_cost"])
        except (TypeError, KeyError, ValueError) as error:
            raise ImdsError("the metadata service's deletion cost has an unknown form") from error

    def set_deletion_cost(self, cost: int) -> None:
        # The API answered 200 here until 2026-04 and 204 since.
        self._call("PUT", "/v1/deletion-cost", ok=(200, 204), body={"deletion_cost": cost})

    def _call(self, method: str, path: str, *, ok: tuple[int, ...], body: Mapping[str, object] | None = None) -> Any:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no netrc: IMDS refuses both
            try:
                answer = session.request(
                    method,
                    f"{self._url}{path}",
                    json=body,
                    headers={"Metadata": "true"},
                    timeout=TIMEOUT_S,
                    allow_redirects=False,  # a redirect is a captive portal, not IMDS
                )
            except requests.RequestException as error:
                raise ImdsError(f"{method} {path}: the metadata service did not answer: {_brief(error)}") from error
        if answer.status_code not in ok:
            raise ImdsError(f"{method} {path}: the metadata service answered {answer.status_code}{_problem(answer)}")
        if answer.status_code == 204 or not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise ImdsError(f"{method} {path}: the metadata service's answer is not JSON") from error


def _problem(answer: requests.Response) -> str:
    """The `title` or `detail` of an RFC 7807 answer, if it has one."""
    try:
        document = answer.json()
        text = document.get("detail") or document.get("title")
    except (ValueError, AttributeError):
        return ""
    return f": {str(text)[:200]}" if text else ""


def _brief(error: Exception) -> str:
    return type(error).__name__
