"""The capability probe beside a running engine: on a connection of its own, until the bucket has answered."""

from __future__ import annotations

import logging
import threading
from contextlib import closing

from sync.clock import Clock
from sync.errors import SyncError, Transient
from sync.stores import Store
from sync.stores.config import StoreConfig
from sync.stores.expiry import expires_at
from sync.stores.opening import open_store
from sync.stores.probe import Capability, innermost, probe

AGAIN_AFTER_S = 15.0
log = logging.getLogger(__name__)


class Asking:
    """Asks once, in a thread; what it learns becomes the facts of `store`."""

    def __init__(self, config: StoreConfig, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._live, name="sync-probe", daemon=True)
        self.capability: Capability | None = None

    def told(self) -> dict[str, object]:
        """For the status document: what was found, and when the credentials end (renewed ones count at once)."""
        found = self.capability.to_json() if self.capability is not None else {}
        return {**found, "credentials_expire_at": expires_at(self._config)}

    def start(self) -> None:
        """Begin to ask. A folder needs no asking: its class is known by construction."""
        if self._config.provider != "file":
            self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop asking; a request under way ends by its own timeout."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _live(self) -> None:
        while not self._ending.is_set():
            try:
                # The probe claims more than it knows while it asks: never on the engine's own connection.
                with closing(open_store(self._config)) as other:
                    found = probe(other)
            except Transient as error:
                log.debug("the bucket did not answer the probe", extra={"why": error.what})
            except SyncError as error:
                log.warning("the bucket cannot be probed", extra={"why": error.what, "hint": error.hint})
                return
            else:
                self._learn(found)
                return
            self._ending.wait(AGAIN_AFTER_S)

    def _learn(self, found: Capability) -> None:
        innermost(self._store).facts = found.facts
        self.capability = found
        for step in found.missing:
            log.warning(
                "the bucket cannot do everything",
                extra={"operation": step.name, "what": step.outcome.value, "why": step.why, "fix": step.fix},
            )
        log.info("the bucket was probed", extra={"store": self._store.url, "writes": found.facts.writes.value})
