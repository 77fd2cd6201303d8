"""Before JupyterLab starts: make the shared documents agree with the folder, or drop them. Never both at once.

For every document one of: the same as on disk; ahead of the disk (then the disk gets what it lacks); behind it by a
save that just missed the bucket (then the disk's version becomes a conflict copy); foreign (then it is dropped, and
tabs that still hold it are asked to reload). Nothing that differs from the disk is ever handed to the server.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import json
import logging
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_ydoc import ydocs
from nbformat.sign import NotebookNotary
from pycrdt import Doc, Map, Text
from pycrdt.store import SQLiteYStore

from preflight.lab.documents import FOLDER, SUFFIX, History, fingerprint, folder_of, read_histories, write_history
from preflight.lab.whole import atomic_writing

log = logging.getLogger(__name__)
MISSED_WITHIN_S = 60.0  # the two uploads of one save, with retries in between
KEPT_S = 14 * 86400.0
COPIES = "copies.json"
DROPPED = "dropped.json"
MARK = "The node that ran this cell vanished before it had finished. Run it again.\n"


class Fate(enum.StrEnum):
    """What becomes of one document."""

    SAME = "same"
    AHEAD = "ahead"  # write the document over the file: the file is one of its earlier contents
    MISSED = "missed"  # keep the file as a conflict copy, then write the document
    FOREIGN = "foreign"  # the file was changed by others since: drop the document
    GONE = "gone"  # no such file any more
    BROKEN = "broken"  # the history cannot be understood
    LOST = "lost"  # the history was too large to travel, or is damaged


STARTS_ANEW = frozenset({Fate.FOREIGN, Fate.BROKEN, Fate.LOST})  # from the file; tabs that hold the old one must reload


@dataclass(frozen=True, slots=True)
class Facts:
    """What deciding needs."""

    on_disk: str | None  # fingerprint; None when the file is not there
    in_document: str
    prints: tuple[str, ...]
    apart_s: float  # between the file's time and the history's


def fate(facts: Facts) -> Fate:
    """Pure."""
    if facts.on_disk is None:
        return Fate.GONE
    if facts.on_disk == facts.in_document:
        return Fate.SAME
    if facts.on_disk in facts.prints:
        return Fate.AHEAD
    return Fate.MISSED if facts.prints and abs(facts.apart_s) <= MISSED_WITHIN_S else Fate.FOREIGN


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the documents."""

    fates: dict[str, Fate]  # by path
    copies: dict[str, str]  # path -> its conflict copy, both in the folder
    prints: dict[str, tuple[str, ...]]  # by path: what was ever saved of the documents that start anew


def restore_documents(data_dir: Path, rtc_dir: Path) -> Restored:
    """Make the server's databases anew from the histories in the folder and what this node has.

    Any failure leaves empty databases: then tabs are asked to reload, and nothing is merged.
    """
    fates: dict[str, Fate] = {}
    copies: dict[str, str] = {}
    prints: dict[str, tuple[str, ...]] = {}
    kept: list[tuple[History, Doc]] = []
    known: list[History] = []
    try:
        local = _local_updates(rtc_dir / "ystore.db")
        forget_old(data_dir)
        for history in read_histories(data_dir):
            try:
                document, found, copy = _restore_one(data_dir, history, local)
            except (RuntimeError, KeyError, TypeError, AttributeError) as broken:  # of the document, by the library
                log.warning("a shared document is broken", extra={"path": history.path, "why": str(broken)})
                document, found, copy = None, Fate.BROKEN, None
            fates[history.path] = found
            if found in STARTS_ANEW:
                prints[history.path] = history.prints
            if copy is not None:
                copies[history.path] = copy.relative_to(data_dir).as_posix()
            if found is not Fate.GONE:
                known.append(history)
            if document is None:
                (folder_of(data_dir) / f"{history.file_id}{SUFFIX}").unlink(missing_ok=True)
            else:
                kept.append((history, document))
    except (OSError, ValueError, sqlite3.Error) as failed:
        log.warning("shared documents start afresh", extra={"why": str(failed)})
        kept, known = [], []
    for name in ("ystore.db", "ystore.db-journal", "file_ids.db", "file_ids.db-journal"):
        (rtc_dir / name).unlink(missing_ok=True)
    _write_store(rtc_dir / "ystore.db", kept)
    # Also of documents that start anew: by its id a tab reaches the server, which can ask it to reload. Without the id
    # it would knock for ever.
    _write_ids(rtc_dir / "file_ids.db", data_dir, known)
    if STARTS_ANEW.intersection(fates.values()):
        # Old tabs must not merge what they hold with what they do not know: the server asks them to reload.
        (data_dir / FOLDER / "sessions.json").unlink(missing_ok=True)
    forgive_formats(data_dir / FOLDER / "sessions.json")
    return Restored(fates, copies, prints)


def forgive_formats(sessions: Path) -> None:
    """Of each session the extension notes the format of the last document alone, and refuses all of another one.

    A text that was opened after a notebook had the notebook's tabs refused on the next node. So the note is dropped
    where it is of a format that this server has; the version of the server itself still has to be the same.
    """
    try:
        known = json.loads(sessions.read_text())
        formats = {document().version for document in ydocs.values()}
        for session in known.values():
            if session.get("document_version") in formats:
                del session["document_version"]
        text = json.dumps(known, indent=2)
    except (OSError, ValueError, AttributeError):
        return  # none yet, or none that the extension understands
    with atomic_writing(sessions) as file:
        file.write(text)


def forget_old(data_dir: Path) -> None:
    """Drop histories that were last written long before the newest: no tab has been open since then."""
    times = {path: path.stat().st_mtime for path in folder_of(data_dir).glob(f"*{SUFFIX}")}
    for path, at in times.items():
        if at < max(times.values()) - KEPT_S:
            path.unlink(missing_ok=True)


def _restore_one(
    data_dir: Path, history: History, local: dict[str, list[bytes]]
) -> tuple[Doc | None, Fate, Path | None]:
    path = data_dir / history.path
    document: Doc = Doc()
    updates = [update for update in (history.update, *local.get(store_path(history), ())) if update]
    if not updates:
        return None, Fate.LOST if path.exists() else Fate.GONE, None
    for update in updates:
        document.apply_update(update)
    shared = ydocs.get(history.type, ydocs["file"])(document)
    content = shared.get()
    kept_at = folder_of(data_dir) / f"{history.file_id}{SUFFIX}"
    try:
        on_disk: str | None = fingerprint(read_content(path, history.type))
        apart_s = path.stat().st_mtime - kept_at.stat().st_mtime
    except FileNotFoundError:
        on_disk, apart_s = None, 0.0
    found = fate(Facts(on_disk, fingerprint(content), history.prints, apart_s))
    log.info("shared document", extra={"path": history.path, "fate": found.value})
    if found in (Fate.GONE, Fate.FOREIGN):
        return None, found, None
    copy = conflict_path(path) if found is Fate.MISSED else None
    if copy is not None:
        shutil.copy2(path, copy)
    marked = history.type == "notebook" and _mark_interrupted(shared)
    if found is not Fate.SAME or marked:
        content = shared.get()
        update = document.get_update()
        prints = (*history.prints, fingerprint(content))
        write_history(data_dir, History(history.file_id, history.path, history.format, history.type, prints, update))
        write_content(path, content, history.type)
    if history.type == "notebook":
        _sign_trusted(path, content)
    return document, found, copy


def _sign_trusted(path: Path, content: Any) -> None:
    """What the user trusted on the node before stays trusted: signatures are of a node, trust is in the document."""
    code = [cell for cell in content["cells"] if cell.get("cell_type") == "code"]
    if all(cell.get("metadata", {}).get("trusted") for cell in code):
        notary = NotebookNotary()
        notary.sign(nbformat.reads(path.read_text(encoding="utf-8"), as_version=4))
        notary.store.close()


def _mark_interrupted(notebook: Any) -> bool:
    """Cells that were running when the node vanished say so."""
    marked = False
    for cell in notebook.ycells:
        if cell.get("cell_type") == "code" and cell.get("execution_state") == "running":
            cell["execution_state"] = "idle"
            cell["outputs"].append(Map({"output_type": "stream", "name": "stderr", "text": Text(MARK)}))
            marked = True
    return marked


def conflict_path(path: Path) -> Path:
    """A free name beside it: `thesis (conflict 2026-11-22 00-12-05).ipynb`, by the file's own time."""
    return free_conflict_name(path, utc(path.stat().st_mtime))


def utc(at_s: float) -> str:
    """A moment as it stands in a file's name."""
    return time.strftime("%Y-%m-%d %H-%M-%S", time.gmtime(at_s))


def free_conflict_name(path: Path, whose: str) -> Path:
    """`thesis (conflict WHOSE).ipynb` beside it, numbered where that name is taken."""
    candidate = path.with_name(f"{path.stem} (conflict {whose}){path.suffix}")
    number = 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem} (conflict {whose} {number}){path.suffix}")
    return candidate


def store_path(history: History) -> str:
    """The document's name in the server's database."""
    return f".{history.type}:{history.file_id}.y"


def read_content(path: Path, kind: str) -> object:
    """A notebook or a text as its document gives it. Raises OSError and ValueError."""
    text = path.read_text(encoding="utf-8")
    return nbformat.reads(text, as_version=4) if kind == "notebook" else text


def write_content(path: Path, content: Any, kind: str) -> None:
    """Whole, without what a server adds to the cells. Raises OSError."""
    if kind == "notebook":
        notebook = nbformat.from_dict(content)
        for cell in notebook.cells:
            cell.metadata.pop("trusted", None)
        content = nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"
    with atomic_writing(path) as file:
        file.write(content)


def _local_updates(database: Path) -> dict[str, list[bytes]]:
    """What this node's own database holds, when JupyterLab alone was restarted. Nothing when it cannot be read."""
    if not database.exists():
        return {}
    found: dict[str, list[bytes]] = {}
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            for table, column in (("ycheckpoints", "checkpoint"), ("yupdates", "yupdate")):
                for path, update in connection.execute(f"SELECT path, {column} FROM {table} ORDER BY timestamp"):
                    found.setdefault(path, []).append(update)
    except sqlite3.Error as failed:
        log.warning("this node's document store cannot be read", extra={"why": str(failed)})
        return {}
    return found


def _write_store(database: Path, kept: list[tuple[History, Doc]]) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TABLE yupdates (path TEXT NOT NULL, yupdate BLOB, metadata BLOB, timestamp REAL NOT NULL)"
        )
        connection.execute("CREATE INDEX idx_yupdates_path_timestamp ON yupdates (path, timestamp)")
        connection.execute(
            "CREATE TABLE ycheckpoints (path TEXT NOT NULL, checkpoint BLOB NOT NULL, timestamp REAL NOT NULL, "
            "PRIMARY KEY(path))"
        )
        connection.execute(f"PRAGMA user_version = {SQLiteYStore.version}")
        rows = [(store_path(history), document.get_update(), None, 1.0) for history, document in kept]
        connection.executemany("INSERT INTO yupdates VALUES (?, ?, ?, ?)", rows)


def _write_ids(database: Path, data_dir: Path, known: list[History]) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE Files(id TEXT PRIMARY KEY NOT NULL, path TEXT NOT NULL UNIQUE)")
        rows = [(history.file_id, f"{data_dir}/{history.path}") for history in known]
        connection.executemany("INSERT OR IGNORE INTO Files VALUES (?, ?)", rows)


@functools.cache
def at_start(data_dir: str, rtc_dir: str) -> None:
    """Called from JupyterLab's configuration file, before any extension opens a database.

    Once a process: Jupyter reads that file several times, and what was decided once must not be decided anew.
    """
    restored = restore_documents(Path(data_dir), Path(rtc_dir))
    (Path(rtc_dir) / COPIES).write_text(json.dumps(restored.copies))
    (Path(rtc_dir) / DROPPED).write_text(json.dumps(restored.prints))


def copies_of(rtc_dir: Path) -> dict[str, str]:
    """The conflict copies that the last start made: path -> copy."""
    try:
        return {str(path): str(copy) for path, copy in json.loads((rtc_dir / COPIES).read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def dropped_prints(rtc_dir: Path) -> dict[str, tuple[str, ...]]:
    """Fingerprints of what was ever saved of the documents whose history the last start dropped, by path."""
    try:
        return {str(path): tuple(map(str, all_)) for path, all_ in json.loads((rtc_dir / DROPPED).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
