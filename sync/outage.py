"""The store (or the disk) does not take part: since when, for how many attempts, and when the next one is made."""

from __future__ import annotations

from dataclasses import dataclass

from sync.errors import Denied, DiskFull, Misconfigured, SyncError, Throttled

OFFLINE_AFTER = 3  # failures in a row: one reset is no outage
OUTAGE_MOST_S = 30.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Failures in a row. Times are monotonic seconds."""

    error: SyncError
    since_s: float
    retry_s: float
    failures: int

    def is_felt(self) -> bool:
        """Whether people should see it."""
        return isinstance(self.error, Denied | Misconfigured | DiskFull) or self.failures >= OFFLINE_AFTER


def worse(before: Outage | None, error: SyncError, now_s: float, *, is_general: bool) -> Outage:
    """The outage after one more failure; one may be about one path alone (not `is_general`): the others go on."""
    failures = before.failures + 1 if before else 1
    delay = min(2.0 ** min(failures - 1, 6), OUTAGE_MOST_S) if failures > 1 or is_general else 0.0
    if isinstance(error, Throttled):
        delay = error.after_s or delay
    return Outage(error, before.since_s if before else now_s, now_s + delay, failures)
