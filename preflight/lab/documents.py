"""Shared documents travel with their notebooks, so that a tab that was open when its node vanished heals on the next.

An open tab holds a document's whole edit history. A new server that does not know that history merges it wrongly
(doubled or garbled text) or refuses it for ever. So before each save of a shared document its history is written
beside the user's files (`.preflight-lab/documents/<file id>.ydoc`, saved to the bucket like any file), with a
fingerprint of every content that was ever saved from it: the history is never older than the notebook.
`generation.py` restores it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jupyter_ydoc import ydocs
from pycrdt import Doc

from preflight.lab.whole import atomic_writing

log = logging.getLogger(__name__)
FOLDER = ".preflight-lab"
SUFFIX = ".ydoc"
VERSION = 1
MOST_PRINTS = 100
# A history that is larger than this is not carried: every save would send it as well. Its tabs are asked to reload.
MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class History:
    """One document's history. `prints` are fingerprints of the contents saved from it, oldest first.

    Without an `update` (too large to travel, or damaged) it still names the document: its tabs are asked to reload.
    """

    file_id: str
    path: str  # in the folder, as the contents API writes it
    format: str
    type: str
    prints: tuple[str, ...]
    update: bytes


def folder_of(data_dir: Path) -> Path:
    """Where the histories are."""
    return data_dir / FOLDER / "documents"


def fingerprint(content: object) -> str:
    """Of a notebook (as a dict) or a text, without what a server adds on its own (whether cells are trusted)."""
    if isinstance(content, Mapping):
        cells = [_plain_cell(cell) for cell in content.get("cells", ())]
        metadata = {k: v for k, v in dict(content.get("metadata", {})).items() if v not in ({"name": ""}, None)}
        for empty in ("kernelspec", "language_info"):
            if metadata.get(empty) in (
                {"name": ""},
                {"name": "", "display_name": ""},
                {"display_name": "", "name": ""},
            ):
                del metadata[empty]
        content = json.dumps({"cells": cells, "metadata": metadata}, sort_keys=True, default=str)
    return hashlib.sha256(str(content).encode("utf-8", "surrogateescape")).hexdigest()


def _plain_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in cell.items() if name != "execution_state"}
    plain["metadata"] = {k: v for k, v in dict(plain.get("metadata", {})).items() if k not in ("trusted", "jp_trusted")}
    plain["source"] = _joined(plain.get("source", ""))
    if "outputs" in plain:
        plain["outputs"] = [_plain_output(output) for output in plain["outputs"]]
    if not plain.get("attachments", True):
        del plain["attachments"]
    return plain


def _plain_output(output: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(output)
    if "text" in plain:
        plain["text"] = _joined(plain["text"])
    if isinstance(plain.get("data"), Mapping):
        plain["data"] = {mime: _joined(body) for mime, body in plain["data"].items()}
    return plain


def _joined(text: object) -> object:
    return "".join(text) if isinstance(text, list) and all(isinstance(one, str) for one in text) else text


def write_history(data_dir: Path, history: History) -> None:
    """Replace it whole. Raises OSError."""
    folder = folder_of(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "version": VERSION,
        "path": history.path,
        "format": history.format,
        "type": history.type,
        "prints": history.prints,
        "sha256": hashlib.sha256(history.update).hexdigest(),
    }
    with atomic_writing(folder / f"{history.file_id}{SUFFIX}", text=False) as file:
        file.write(json.dumps(header).encode() + b"\n" + history.update)


def read_histories(data_dir: Path) -> list[History]:
    """All that can be understood; what cannot is left out with a warning."""
    found = []
    folder = folder_of(data_dir)
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            first, _, update = path.read_bytes().partition(b"\n")
            head = json.loads(first)
            if head["version"] != VERSION:
                raise ValueError("another version's")
            if head["sha256"] != hashlib.sha256(update).hexdigest():
                log.warning("a document's history is damaged", extra={"path": str(path)})
                update = b""  # never handed to the library: it may end the process over it
            prints = tuple(map(str, head["prints"]))
            found.append(History(path.stem, head["path"], head["format"], head["type"], prints, update))
        except (OSError, ValueError, KeyError, TypeError) as broken:
            log.warning("a document's history cannot be read", extra={"path": str(path), "why": str(broken)})
    return found


class Documents:
    """Keeps the histories of the documents that are open right now. Called on the server's event loop."""

    def __init__(
        self,
        data_dir: Path,
        rooms: Any,
        written: Callable[[Path], None] = lambda path: None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """`rooms()` gives the open rooms of the collaboration extension, an iterable of DocumentRoom."""
        self._data_dir = data_dir
        self._rooms = rooms
        self._written = written
        self._most_bytes = most_bytes
        self._known = {one.file_id: one for one in read_histories(data_dir)}

    def before_save(self, path: str, content: object) -> History | None:
        """What to write before `content` is saved at `path`; None when it is not an open shared document."""
        room = next((room for room in self._rooms() if path_of(room) == path.strip("/")), None)
        if room is None or not _is_by_room():
            return None
        file_format, file_type, file_id = str(room.room_id).split(":", 2)
        before = self._known.get(file_id)
        prints = ((*before.prints, fingerprint(content)) if before else (fingerprint(content),))[-MOST_PRINTS:]
        update = room.ydoc.get_update()
        if len(update) > self._most_bytes:
            update = b""
        history = History(file_id, path.strip("/"), file_format, file_type, prints, update)
        self._known[file_id] = history
        return history

    def newly_opened(self) -> list[History]:
        """Of documents that are open and were never saved from here: without a history their tabs heal nowhere."""
        found = []
        for room in self._rooms():
            path, file_id = path_of(room), str(room.room_id).rpartition(":")[2]
            if path is None or file_id in self._known or not room.ready:
                continue
            file_format, file_type, _ = str(room.room_id).split(":", 2)
            update = room.ydoc.get_update()
            twin: Doc = Doc()
            twin.apply_update(update)
            prints = (fingerprint(ydocs.get(file_type, ydocs["file"])(twin).get()),)
            history = History(
                file_id, path, file_format, file_type, prints, update if len(update) <= self._most_bytes else b""
            )
            self._known[file_id] = history
            found.append(history)
        return found

    def history_at(self, path: str) -> History | None:
        """The history that is on record for a path in the folder."""
        return next((one for one in self._known.values() if one.path == path.strip("/")), None)

    def write(self, history: History) -> None:
        """Off the event loop. A history that cannot be written costs the save nothing."""
        try:
            write_history(self._data_dir, history)
            self._written(folder_of(self._data_dir) / f"{history.file_id}{SUFFIX}")
        except OSError as failed:
            log.warning("a document's history cannot be written", extra={"why": str(failed)})

    def renamed(self, old: str, new: str) -> None:
        """A file or a folder got another name."""
        old, new = old.strip("/"), new.strip("/")
        for file_id, one in list(self._known.items()):
            if one.path == old or one.path.startswith(f"{old}/"):
                self._known[file_id] = replace(one, path=new + one.path[len(old) :])
                self.write(self._known[file_id])

    def forget(self, path: str) -> None:
        """A file or a folder is gone."""
        path = path.strip("/")
        for file_id, one in list(self._known.items()):
            if one.path == path or one.path.startswith(f"{path}/"):
                del self._known[file_id]
                (folder_of(self._data_dir) / f"{file_id}{SUFFIX}").unlink(missing_ok=True)


def _is_by_room() -> bool:
    """Whether this save comes from the shared document itself, and not from a client beside it.

    The collaboration extension saves in a task of its file loader. Should that change, histories are no longer
    written, and tabs are asked to reload on the next node.
    """
    task = asyncio.current_task()
    coroutine = task.get_coro() if task else None
    return str(getattr(coroutine, "__qualname__", "")).startswith("FileLoader.")


def path_of(room: Any) -> str | None:
    """The room's file; None for rooms without one, or whose file is gone."""
    file = getattr(room, "_file", None)
    try:
        return None if file is None else str(file.path)
    except RuntimeError:
        return None
