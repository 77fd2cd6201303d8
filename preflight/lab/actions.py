"""What a click may ask for: a closed list, translated for the sync and the supervisor. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FLUSH_TIMEOUT_S = 60.0  # a click that waits longer looks broken; the sync goes on either way
SLOW_TIMEOUT_S = 130.0  # asks the bucket
MOVE_TIMEOUT_S = 150.0  # flushes, verifies and examines before it asks the platform

Whom = Literal["sync", "supervisor", "desk", "folder"]


@dataclass(frozen=True, slots=True)
class Errand:
    """Whom to ask, what, and how long to wait."""

    to: Whom
    request: dict[str, object]
    timeout_s: float = 15.0


class Unknown(ValueError):
    """No such action, or a field is missing. The text is for people."""


# action -> (whom, command, fields taken from the page)
ACTIONS: Mapping[str, tuple[Whom, str, tuple[str, ...]]] = {
    "flush": ("sync", "flush", ()),
    "release": ("sync", "release", ()),
    "waiting": ("sync", "waiting", ("folder",)),
    "trash": ("desk", "trash", ()),
    "bring_back": ("desk", "bring_back", ("path", "deleted_at")),
    "keep": ("folder", "keep", ("path", "copy", "keep")),
    "move": ("supervisor", "move", ()),
}


def errand(action: object, fields: Mapping[str, object]) -> Errand:
    """The request for one click. Only strings pass, and only the fields the action names."""
    if not isinstance(action, str) or action not in ACTIONS:
        raise Unknown("no such action")
    to, command, names = ACTIONS[action]
    request: dict[str, object] = {"cmd": command}
    for name in names:
        value = fields.get(name)
        if not isinstance(value, str) or (not value and name != "folder"):  # "" is the root
            raise Unknown(f"{action} needs {name}")
        request[name] = value
    if action == "flush":
        request["timeout_s"] = FLUSH_TIMEOUT_S
        return Errand(to, request, FLUSH_TIMEOUT_S + 10.0)
    if action == "move":
        return Errand(to, request, MOVE_TIMEOUT_S)
    return Errand(to, request, SLOW_TIMEOUT_S if to == "desk" else 15.0)
