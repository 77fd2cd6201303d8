"""What sync tells the world: one JSON document in the state folder, refreshed while the child lives.

`preflight` reads it for probes, metrics and pages; `preflight sync status --json` prints it. A document that
is older than `STALE_AFTER_S` proves nothing and must not be shown as green.
"""

from __future__ import annotations

import dataclasses
import enum
import errno
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

STALE_AFTER_S = 60.0  # the child refreshes every 10 s even when nothing happens


class State(enum.StrEnum):
    """The one word that people see."""

    STARTING = "starting"
    RESTORING = "restoring"
    SAVED = "saved"  # everything in the folder is committed on the server
    SAVING = "saving"
    OFFLINE = "offline"  # the store does not answer; edits wait here
    HELD = "held"  # a guard holds deletes back; uploads go on
    FENCED = "fenced"  # a newer node took the prefix over
    STOPPING = "stopping"
    FAILED = "failed"  # credentials, policy or settings: a person must act


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the restore: totals are None until the listing is complete."""

    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot. Times are seconds since the epoch (UTC), durations seconds, sizes bytes."""

    state: State = State.STARTING
    store: str = ""  # URL without credentials; "" when no store is configured
    why: str = ""  # one sentence when the state is not starting/saved/saving
    hint: str = ""  # what to do about it
    pending_files: int = 0
    pending_bytes: int = 0
    oldest_pending_s: float = 0.0
    pending: tuple[str, ...] = ()  # the first 20 paths, oldest first
    last_durable_at: float | None = None
    epoch: int = 0
    held: tuple[dict[str, object], ...] = ()  # {"path", "why"}; the first 100
    held_count: int = 0
    conflicts: tuple[dict[str, object], ...] = ()  # {"path", "copy", "at"}
    problems: tuple[dict[str, object], ...] = ()  # {"path", "why"}: what cannot be saved, named; the first 100
    problems_count: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    cost_usd: dict[str, float] = field(default_factory=dict)  # by verb and "traffic", at list prices; {} if unknown
    bytes_sent: int = 0
    bytes_received: int = 0
    files: int = 0
    bytes: int = 0
    restore: Progress = Progress()
    restored: bool = False  # a complete restore happened since start (JupyterLab may open)
    left_by_previous: tuple[str, ...] = ()  # what the node before us had not saved when it vanished
    mirrors: tuple[dict[str, object], ...] = ()  # push-only stores: {"store", "state", "why", "pending_files"}
    capability: dict[str, object] = field(default_factory=dict)
    pid: int = 0
    updated_at: float = 0.0

    def to_json(self) -> str:
        """The document as written to disk and served under `/sync`."""
        whole = {name: getattr(self, name) for name in self.__slots__}  # asdict copies every value it meets
        return json.dumps({**whole, "restore": dataclasses.asdict(self.restore)}, ensure_ascii=True)


def status_path(state_dir: Path) -> Path:
    """Where the document lives."""
    return state_dir / "sync" / "status.json"


def write_status(state_dir: Path, status: Status) -> None:
    """Replace the document atomically; on a full disk in place (a reader of half of it sees none)."""
    path = status_path(state_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_suffix(".tmp")
    body = status.to_json().encode()
    try:
        temp.write_bytes(body)
        os.replace(temp, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # A full disk is what people must hear of: the old document's own blocks take the new one.
        temp.unlink(missing_ok=True)
        with path.open("r+b") as file:
            file.write(body)
            file.truncate()


def read_status(state_dir: Path) -> Status | None:
    """The last document, or None when there is none or it cannot be understood (unknown is not healthy)."""
    try:
        raw = json.loads(status_path(state_dir).read_text())
        raw["state"] = State(raw["state"])
        raw["restore"] = Progress(**raw["restore"])
        for name in ("pending", "held", "conflicts", "problems", "left_by_previous", "mirrors"):
            raw[name] = tuple(raw[name])
        return Status(**raw)
    except (OSError, ValueError, TypeError, KeyError):
        return None


class StatusFile:
    """The document for one who asks all the time: it is parsed again only when it was written again. Thread-safe."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._last: tuple[tuple[int, int, int], Status] | None = None

    def read(self) -> Status | None:
        """As `read_status`."""
        try:
            found = os.stat(status_path(self._state_dir))
        except OSError:
            return None
        seen, last = (found.st_ino, found.st_mtime_ns, found.st_size), self._last
        if last is not None and last[0] == seen:
            return last[1]
        status = read_status(self._state_dir)
        self._last = None if status is None else (seen, status)  # half of one (a full disk) is looked at again
        return status
