"""How a GPU child tells its story: one JSON line before and after every driver call.

A driver call may hang or kill the process, so what was read before it must already be with the parent, and the
call that never came back must be named. The lines go to a private copy of stdout: vendor libraries print too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, TypeVar

T = TypeVar("T")


class CallFailed(Exception):
    """A driver call answered with an error code. The code is the vendor's own number."""

    def __init__(self, call: str, code: int, why: str = "") -> None:
        super().__init__(f"{call} answered {code}{f' ({why})' if why else ''}")
        self.call = call
        self.code = code
        self.why = why


@dataclass(frozen=True, slots=True)
class Story:
    """The child's side: writes lines, one `write` each, so that a crash loses none."""

    out: IO[str]
    skip: frozenset[str] = frozenset()  # calls that hung or crashed an earlier child

    def tell(self, stage: str, **fields: object) -> None:
        """Writes one fact. Values must be JSON."""
        self.out.write(json.dumps({"stage": stage, **fields}) + "\n")
        self.out.flush()

    def alive(self) -> None:
        """Says within a long stage that calls still come back."""
        self.out.write("{}\n")
        self.out.flush()

    def call(self, stage: str, read: Callable[[], T], *, device: int | None = None) -> T | None:
        """The result of `read()`, told; None when it answered with an error code (told) or is to be skipped."""
        where: dict[str, object] = {} if device is None else {"device": device}
        if stage in self.skip:
            self.tell(stage, **where, skipped=True)
            return None
        self.tell(stage, **where, begin=True)
        try:
            value = read()
        except CallFailed as failure:
            self.tell(stage, **where, error=failure.code, why=failure.why, call=failure.call)
            return None
        self.tell(stage, **where, value=value if _is_json(value) else None)
        return value


def _is_json(value: object) -> bool:
    return isinstance(value, str | int | float | bool | list | tuple | dict | type(None))


def read_line(line: bytes) -> Mapping[str, object] | None:
    """One line of a story; None for anything else (a torn last line, a library's own print)."""
    try:
        fact = json.loads(line)
    except ValueError:
        return None
    return fact if isinstance(fact, dict) and isinstance(fact.get("stage"), str) else None
