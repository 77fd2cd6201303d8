"""Names that some servers quietly change: found out by asking, before anything could be overwritten by a changed name.

Seen: SeaweedFS stores `a//b` as `a/b` and `a\\b` as `a/b`; Azurite stores `a/../b` as `b`; both answer 200.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Protocol

from sync.errors import Corrupt, Denied, PreconditionFailed, Unsupported

SAMPLES = {"empty part": "x//y", "backslash": "x\\y", "dot": "x/./y", "two dots": "x/../y", "final dot": "x."}

DOUBT = re.compile(r"\\|\.(?:/|$)|//|^/")  # what every doubtful name has, and few others
# An empty part, `.` or `..`, or a control character (Unicode's category Cc).
ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f-\x9f]")


class Ask(Protocol):
    """The three requests of the question, on full keys."""

    def __call__(self, name: str) -> object: ...


class ExactNames:
    """Whether a server stores doubtful names as they are."""

    def __init__(self, *, exact: bool | None, put: Ask, names: Callable[[str], Iterable[str]], delete: Ask) -> None:
        """`exact`: known beforehand; None: ask the server when the first doubtful name is to be written."""
        self._put = put
        self._names = names
        self._delete = delete
        self._lock = Lock()
        self._kept: frozenset[str] | None = None
        if exact is not None:
            self._kept = frozenset(SAMPLES) if exact else frozenset()

    def check(self, full: str, key: str, probe_folder: Callable[[], str]) -> None:
        """Raise Unsupported, naming `key`, when the server would store `full` under another name."""
        doubts = doubtful(full)
        if not doubts:
            return
        with self._lock:
            if self._kept is None:
                self._kept = self._ask(probe_folder())
            if not doubts <= self._kept:
                raise Unsupported("this server would store another name", where=key)

    def _ask(self, folder: str) -> frozenset[str]:
        wanted = {kind: folder + name for kind, name in SAMPLES.items()}
        for name in wanted.values():
            try:
                self._put(name)
            except (Unsupported, PreconditionFailed, Corrupt, Denied):
                continue  # refused, or changed on its way so that the signature broke: that kind is not stored
        found = set(self._names(folder))
        for name in found:
            self._delete(name)
        return frozenset(kind for kind, name in wanted.items() if name in found)


def doubtful(full: str) -> set[str]:
    """The kinds of doubt about a name; empty for ordinary ones."""
    if DOUBT.search(full) is None:
        return set()
    parts = full.removesuffix("/").split("/")  # `dir/` is how a directory marker looks: no doubt about that
    found = set()
    if "" in parts:
        found.add("empty part")
    if "\\" in full:
        found.add("backslash")
    if "." in parts:
        found.add("dot")
    if ".." in parts:
        found.add("two dots")
    if any(part.endswith(".") and part.strip(".") for part in parts) or "..." in parts:
        found.add("final dot")
    return found


def is_odd(full: str) -> bool:
    """Whether a client or a server may refuse the name for its parts or its characters."""
    return ODD.search(full) is not None


def unspeakable(full: str) -> bool:
    """Whether XML cannot carry the name, so that a listing without URL encoding would break or lie."""
    return any(
        char not in "\t\n" and (unicodedata.category(char) in {"Cc", "Cs"} or ord(char) & 0xFFFE == 0xFFFE)
        for char in full
    )
