"""Why a deployment did not happen, by what the caller can do about it."""

from __future__ import annotations

from preflight.errors import PreflightError


class DeployError(PreflightError):
    """`why` is a sentence for people and never holds a key or a secret."""

    exit_code = 1

    def __init__(self, why: str, *, hint: str = "") -> None:
        super().__init__(f"{why}; hint: {hint}" if hint else why)
        self.why = why
        self.hint = hint


class BadOrder(DeployError):
    """What was asked for cannot be sent: all faults at once. Nothing was sent."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Busy(DeployError):
    """Too many requests, a server error, or no answer: the same command may succeed later."""

    exit_code = 3


class NotThere(DeployError):
    """The group, project or organization does not exist."""

    exit_code = 4


class NameTaken(DeployError):
    """The name belongs to another group, or to one that was deleted (names are not given out twice)."""

    exit_code = 5


class Forbidden(DeployError):
    """The key is missing, wrong, or may not do this."""

    exit_code = 12


class WouldRestart(DeployError):
    """The change restarts every running replica, and nobody said that it may."""

    exit_code = 20
