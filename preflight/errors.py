"""Errors of `preflight`. Checks raise Unmeasured; settings raise BadSettings; platforms raise ImdsError."""

from __future__ import annotations

from preflight.model import Blame


class PreflightError(Exception):
    """Base of all."""


class Unmeasured(PreflightError):
    """A check could not measure. `why` is one sentence; it ends as an unknown, which never rejects a node.

    `blame` only where the error itself tells who is at fault.
    """

    def __init__(self, why: str, *, blame: Blame | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.blame = blame


class BadSettings(PreflightError):
    """All faults of the configuration at once, each naming its variable. Exit code 2 off-platform."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ImdsError(PreflightError):
    """The platform's metadata service refused or did not answer; nothing may be assumed about the request."""
