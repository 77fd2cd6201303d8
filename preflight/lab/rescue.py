"""What a tab still held when its node vanished is merged, or kept beside the file under a name that says so.

The page keeps each document that has unsaved edits in the browser's own database, as the document's whole history.
After a change of node, or of the page, it brings that here. Only where the tab's history goes on in this server's may
the two be merged; everywhere else what the tab held becomes a copy, unless it was in the bucket before.
"""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jupyter_ydoc import ydocs
from pycrdt import Doc

from preflight.lab.documents import fingerprint
from preflight.lab.generation import free_conflict_name, read_content, utc, write_content

log = logging.getLogger(__name__)
LONGEST_BROWSER = 20


class Outcome(enum.StrEnum):
    """What becomes of it; the page reads these words."""

    HEALS = "heals"  # the tab is open and its own connection brings everything
    SAME = "same"  # nothing in it that the folder or its history lacks
    MERGED = "merged"
    OPEN = "open"  # can be merged once the document is open: open it and ask again
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Held:
    """What the page brings. `is_open`: the tab that held it is there and shows it."""

    path: str
    type: str
    session: str
    is_open: bool
    is_last_try: bool
    browser: str
    update: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """What deciding needs."""

    is_accepted: bool  # the history goes on here: the session is known, and so is the document
    is_open: bool
    is_saved: bool  # this very content was saved once, or is empty
    is_contained: bool  # merging it would change nothing
    has_room: bool
    is_last_try: bool


def outcome(facts: Facts) -> Outcome:
    """Pure."""
    if facts.is_accepted and facts.is_open:
        return Outcome.HEALS
    if facts.is_saved or (facts.is_accepted and facts.is_contained):
        return Outcome.SAME
    if facts.is_accepted and facts.has_room:
        return Outcome.MERGED
    return Outcome.OPEN if facts.is_accepted and not facts.is_last_try else Outcome.COPY


@dataclass(frozen=True, slots=True)
class Known:
    """What this server knows of one document. `room` is the open one's document, `update` the history on record."""

    is_accepted: bool
    prints: tuple[str, ...]
    room: Doc | None
    update: bytes


class Rescue:
    """Called on the server's event loop: rooms belong to it."""

    def __init__(self, data_dir: Path, known: Callable[[Held, str], Known], now: Callable[[], float]) -> None:
        """`known(held, room_id)` looks the document up; `now` gives seconds since the epoch."""
        self._data_dir = data_dir
        self._known = known
        self._now = now

    def settle(self, held: Held) -> tuple[Outcome, str]:
        """Do what has to be done; the outcome, and the copy's path in the folder. Raises ValueError and OSError."""
        path = self._data_dir / _inside(held.path)
        theirs: Doc = Doc()
        theirs.apply_update(held.update)
        shared = ydocs.get(held.type, ydocs["file"])(theirs)
        content = shared.get()
        known = self._known(held, str(shared.ystate.get("document_id") or ""))
        facts = Facts(
            is_accepted=known.is_accepted,
            is_open=held.is_open,
            is_saved=_is_empty(content) or fingerprint(content) in {*known.prints, *_on_disk(path, held.type)},
            is_contained=_contains(known, held),
            has_room=known.room is not None,
            is_last_try=held.is_last_try,
        )
        found = outcome(facts)
        log.info("what a tab held", extra={"path": held.path, "outcome": found.value})
        if found is Outcome.MERGED and known.room is not None:
            known.room.apply_update(held.update)  # tells every tab, and is saved as any edit
        if found is not Outcome.COPY:
            return found, ""
        copy = self._copy(path, held, content)
        return found, copy.relative_to(self._data_dir).as_posix()

    def _copy(self, path: Path, held: Held, content: Any) -> Path:
        """Beside the file; one that holds the same already (of another tab, or asked twice) serves."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in sorted(path.parent.iterdir()):
            is_copy = other.name.startswith(f"{path.stem} (conflict ") and other.suffix == path.suffix
            if is_copy and fingerprint(content) in _on_disk(other, held.type):
                return other
        copy = copy_path(path, held.browser, self._now())
        write_content(copy, content, held.type)
        return copy


def copy_path(path: Path, browser: str, at_s: float) -> Path:
    """A free name: `thesis (conflict Firefox 2026-11-22 10-05-00).ipynb`, in UTC."""
    name = re.sub(r"[^A-Za-z0-9]", "", browser)[:LONGEST_BROWSER] or "browser"
    return free_conflict_name(path, f"{name} {utc(at_s)}")


def _inside(path: str) -> PurePosixPath:
    """A path of the user's in the folder. Raises ValueError for everything else."""
    asked = PurePosixPath(path)
    if not asked.parts or asked.is_absolute() or ".." in asked.parts or asked.parts[0].startswith(".preflight"):
        raise ValueError("no such place in the folder")
    return asked


def _on_disk(path: Path, kind: str) -> Iterable[str]:
    """The fingerprint of a file's content; nothing when it cannot be read as such."""
    try:
        return (fingerprint(read_content(path, kind)),)
    except (OSError, ValueError):
        return ()


def _is_empty(content: Any) -> bool:
    """Nothing that anybody typed."""
    if isinstance(content, Mapping):
        return not any("".join(cell.get("source", "")).strip() or cell.get("outputs") for cell in content["cells"])
    return not content


def _contains(known: Known, held: Held) -> bool:
    """Whether merging would change nothing that can be seen."""
    before: Doc = Doc()
    updates = [known.room.get_update()] if known.room is not None else [known.update] if known.update else []
    if not updates:
        return False
    for update in updates:
        before.apply_update(update)
    shared = ydocs.get(held.type, ydocs["file"])(before)
    was = fingerprint(shared.get())
    before.apply_update(held.update)
    return fingerprint(shared.get()) == was
