"""Two clouds' prober, as their documents describe it: what they ask, and what they do to the node when it fails.

Times are shortened about twentyfold, so every window here is stricter than the real one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import requests


@dataclass(frozen=True)
class Spec:
    """One probe: where it asks, how often, and how many failures in a row it takes."""

    path: str
    failures: int
    period_s: float = 0.5
    timeout_s: float = 2.5
    successes: int = 1


@dataclass(frozen=True)
class Cloud:
    """Probes and what their failure does. Startup comes first; the other two wait until it succeeded."""

    name: str
    startup: Spec
    live: Spec
    ready: Spec
    startup_costs: str
    live_costs: str
    ready_costs: str


# The specs of docs/probes.md. Startup: 60 s here, 200 s there.
SALAD = Cloud(
    "salad",
    startup=Spec("/startupz", failures=120),
    live=Spec("/livez", failures=3),
    ready=Spec("/readyz?page=1", failures=3),
    startup_costs="reallocated",
    live_costs="reallocated",
    ready_costs="",  # hidden from the gateway, no more
)
GONGJI = Cloud(
    "gongji",
    startup=Spec("/startupz", failures=120),
    live=Spec("/livez", failures=3),
    ready=Spec("/readyz?page=1", failures=6),
    startup_costs="restarted",
    live_costs="restarted",
    ready_costs="replaced",
)


class CloudProber(threading.Thread):
    """Probes a node until stopped; `done` is what the cloud did to it."""

    def __init__(self, cloud: Cloud, port: int) -> None:
        super().__init__(daemon=True)
        self.cloud, self.port = cloud, port
        self.done: list[str] = []
        self.started = False
        self.ready = False
        self.rounds = 0
        self._stopped = threading.Event()

    def __enter__(self) -> CloudProber:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join(10)

    def _asks(self, spec: Spec) -> bool:
        try:
            return requests.get(f"http://[::1]:{self.port}{spec.path}", timeout=spec.timeout_s).status_code == 200
        except requests.RequestException:
            return False

    def run(self) -> None:
        cloud = self.cloud
        failed = {"startup": 0, "live": 0, "ready": 0}
        while not self._stopped.wait(cloud.live.period_s):
            probes = {"live": cloud.live, "ready": cloud.ready} if self.started else {"startup": cloud.startup}
            for kind, spec in probes.items():
                ok = self._asks(spec)
                failed[kind] = 0 if ok else failed[kind] + 1
                if kind == "startup":
                    self.started = ok
                elif kind == "ready":
                    self.ready = ok or (self.ready and failed[kind] < spec.failures)
                cost = getattr(cloud, f"{kind}_costs")
                if failed[kind] >= spec.failures and cost:
                    self.done.append(f"{cost}: {kind}")
                    return
            self.rounds += 1
