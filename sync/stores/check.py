"""`store check`: what works with the configured clouds, what is missing, and the exact fix."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sync.clock import Clock
from sync.errors import SyncError
from sync.stores import Store, Writes
from sync.stores.config import StoreConfig
from sync.stores.expiry import expires_at, expiry_warning
from sync.stores.opening import open_store
from sync.stores.probe import FOLDER, Capability, probe
from sync.stores.retry import Patience, Retrying

SAMPLES = 5
GUARANTEES = {
    Writes.FULL: "no other writer is ever overwritten: the server compares versions",
    Writes.CREATE_ONLY: "new files never replace others; for changed files the version is looked at before the write",
    Writes.NONE: "the server compares nothing: versions are looked at before each write, and only one node is safe",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """One store's result. `error` is set when it could not be asked at all."""

    url: str
    provider: str
    role: str  # "primary" or "mirror"
    capability: Capability | None = None
    error: str = ""
    hint: str = ""
    exit_code: int = 0
    latency_s: float | None = None  # median of small writes
    expires_at: float | None = None
    warnings: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """One element of `store check --json`."""
        raw = {name: value for name, value in asdict(self).items() if name != "capability"}
        raw["capability"] = self.capability.to_json() if self.capability is not None else None
        raw["guarantee"] = GUARANTEES[self.capability.facts.writes] if self.capability is not None else ""
        return raw


def check_stores(configs: Sequence[StoreConfig], clock: Clock) -> list[Checked]:
    """Ask every store with real writes; never raises for a store's own trouble."""
    return [check_store(config, clock, role="mirror" if number else "primary") for number, config in enumerate(configs)]


def check_store(config: StoreConfig, clock: Clock, *, role: str = "primary") -> Checked:
    """Ask one store."""
    warning = expiry_warning(config, clock.now())
    base = Checked(
        config.url,
        config.provider,
        role,
        expires_at=expires_at(config),
        warnings=(warning,) if warning else (),
    )
    try:
        store = Retrying(open_store(config), patience=Patience(attempts=2), clock=clock)
        with closing(store):
            capability = probe(store)
            latency_s = _latency_s(store, clock) if capability.usable else None
    except SyncError as error:
        hint = error.hint or f"check {config.variable}"
        return replace(base, error=error.what, hint=hint, exit_code=error.exit_code)
    exit_code = 0 if capability.usable else 12
    return replace(
        base, capability=capability, provider=capability.facts.provider, latency_s=latency_s, exit_code=exit_code
    )


def _latency_s(store: Store, clock: Clock) -> float:
    key = f"{FOLDER}latency"
    took: list[float] = []
    for _ in range(SAMPLES):
        started_s = clock.monotonic()
        store.put(key, b"x", meta={})
        took.append(clock.monotonic() - started_s)
    with suppress(SyncError):
        store.delete(key)
    return statistics.median(took)
