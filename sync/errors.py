"""Every error that may leave `sync`, so that callers decide by type and never by a vendor's message.

An adapter classifies (vendor error -> one of these), the retry wrapper decides, the engine reports.
"""

from __future__ import annotations


class SyncError(Exception):
    """An operation failed. `what` is a sentence for people; `hint` says what to do about it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where  # the key or path concerned; never a credential
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.what} ({self.where})" if self.where else self.what
        return f"{text}; hint: {self.hint}" if self.hint else text


class Transient(SyncError):
    """The same request may succeed later: timeouts, resets, 5xx. The outcome of a write is unknown."""

    exit_code = 3


class Throttled(Transient):
    """The server asked for a slower pace (429, 503 SlowDown). `after_s` is its Retry-After, if it sent one."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", after_s: float | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.after_s = after_s


class Contended(SyncError):
    """Each look at this one object finds another version than the write after it: others are not concerned."""

    exit_code = 3


class NotFound(SyncError):
    """The object does not exist. A 403 is never this (least-privilege policies answer 403 for both)."""


class Denied(SyncError):
    """Credentials or policy refuse: asking again does not help until a person changes something."""

    exit_code = 12


class Misconfigured(SyncError):
    """The store cannot exist as configured: no such bucket, wrong endpoint, wrong region, unusable URL."""

    exit_code = 2


class PreconditionFailed(SyncError):
    """The object is not (or no longer) the version that the write named: somebody else wrote it."""


class LeaseLost(SyncError):
    """A newer node holds this prefix: stop writing at once."""

    exit_code = 11


class Unsupported(SyncError):
    """The provider does not know this operation or header (501), or cannot represent this key."""


class Corrupt(SyncError):
    """Bytes do not match their checksum or announced length; nothing was published."""

    exit_code = 3


class Unstable(SyncError):
    """The file changed while it was read; it is read again next round."""


class DiskFull(SyncError):
    """The local disk has no room: what is whole is kept, the rest waits."""

    exit_code = 3


class Refused(SyncError):
    """A guard held the plan (root emptied, too many deletes) until a person or time releases it."""

    exit_code = 20


class BadSettings(SyncError):
    """All faults of the configuration at once, each naming its variable."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
