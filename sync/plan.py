"""The decisions, and nothing else: pure functions over what is here, what was synced and what is there.

Absent evidence never decides: an unreadable place is not empty, and a remote side that nobody listed is
taken to be what the journal last saw (the precondition of the write then tells the truth).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sync.tree import Entry, Kind, Remote, Row, unchanged


class Op(enum.Enum):
    """What one path needs."""

    NONE = "none"
    PUT = "put"  # over exactly the journal's version, or create-only without one
    DELETE = "delete"  # remotely: exactly the journal's version, after a copy to the trash
    FETCH = "fetch"  # the bucket's version takes the name; nothing of the user's is lost by it
    MERGE = "merge"  # both changed: equal content is adopted, else both survive
    REMOVE = "remove"  # locally, into the folder's own trash: somebody deleted it in the bucket
    FORGET = "forget"  # gone on both sides


def push(local: Entry | None, row: Row | None) -> Op:
    """What the bucket needs, from a complete scan and the journal alone."""
    if local is None:
        return Op.NONE if row is None else Op.DELETE
    if local.kind is Kind.OTHER:
        return Op.NONE
    if row is None or not unchanged(local, row):
        return Op.PUT
    return Op.NONE


def pull(local: Entry | None, row: Row | None, remote: Remote | None) -> Op:
    """What the folder needs, from a complete listing, a scan and the journal. What to push is left to `push`."""
    if remote is None:
        if row is None:
            return Op.NONE
        if local is None:
            return Op.FORGET
        # Deleted in the bucket: an edit beats a delete (it is pushed anew), an untouched file follows it.
        return Op.REMOVE if unchanged(local, row) else Op.FORGET
    if row is not None and row.version == remote.version:
        return Op.NONE  # the bucket has nothing new; a local edit or delete is pushed
    if local is None:
        return Op.FETCH  # new there, or edited there while deleted here: the edit wins
    if row is not None and unchanged(local, row):
        return Op.FETCH
    return Op.MERGE


@dataclass(frozen=True, slots=True)
class Guard:
    """When a burst of deletes is held: more than `files` of them and more than `ratio` of the tree."""

    files: int = 50
    ratio: float = 0.5

    def why_held(self, deletes: int, lately: int, known: int) -> str:
        """Why `deletes` must wait, "" when they may go.

        `lately`: deletes already done in this burst; `known`: files that the journal still holds.
        """
        total = known + lately
        burst = deletes + lately
        if deletes >= known > 1:
            return f"the folder was emptied: all {known} files would be deleted in the bucket"
        if burst > self.files and burst > self.ratio * total:
            return f"{burst} of {total} files would be deleted in the bucket at once"
        return ""


@dataclass(slots=True)
class Held:
    """Deletes that a guard holds back."""

    why: str
    since_s: float
    count: int
