"""A new node and an old tab: the document and the file agree, or one becomes an explicit copy. Never a mixture."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_server_ydoc.utils import YDOC_SERVER_VERSION, check_session_compatibility
from jupyter_ydoc import YFile, YNotebook
from pycrdt import Doc
from pycrdt.store import SQLiteYStore

from preflight.lab import line
from preflight.lab.documents import Documents, History, fingerprint, folder_of, read_histories, write_history
from preflight.lab.generation import MARK, Facts, Fate, at_start, copies_of, fate, restore_documents, store_path
from preflight.lab.keeper import Keeper
from sync.control import socket_path
from tests.support.jupyter import notebook

NAME = "thesis.ipynb"


@pytest.fixture(autouse=True)
def signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing keys of this test alone."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "share"))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(None, "a", ("a",), 0.0), Fate.GONE),
        (Facts("a", "a", ("a",), 9e9), Fate.SAME),
        (Facts("a", "b", ("a",), 9e9), Fate.AHEAD),
        (Facts("a", "c", ("a", "b", "c"), 9e9), Fate.AHEAD),
        (Facts("z", "b", ("a", "b"), 3.0), Fate.MISSED),
        (Facts("z", "b", ("a", "b"), 3600.0), Fate.FOREIGN),
        (Facts("z", "b", (), 0.0), Fate.FOREIGN),
    ],
)
def test_fate(facts: Facts, expected: Fate) -> None:
    assert fate(facts) is expected


class Node:
    """The folder and databases of one node, with a document that is edited as the server does it."""

    def __init__(self, home: Path) -> None:
        self.data = home / "data"
        self.rtc = home / "rtc"
        self.data.mkdir(parents=True)
        self.rtc.mkdir()
        self.doc: Doc = Doc()
        self.shared = YNotebook(self.doc)
        self.prints: list[str] = []

    def save(self, *sources: str, file: bool = True, history: bool = True) -> None:
        """One save: the history first, then the file."""
        content = self.shared.get()
        if sources:
            content = content | notebook(*sources)
            self.shared.set(content)
            content = self.shared.get()
        if history:
            self.prints.append(fingerprint(content))
            update = self.doc.get_update()
            write_history(self.data, History("id-1", NAME, "json", "notebook", tuple(self.prints), update))
        if file:
            (self.data / NAME).write_text(nbformat.writes(nbformat.from_dict(content)))

    def restored(self) -> dict[str, Fate]:
        return restore_documents(self.data, self.rtc).fates

    def on_disk(self) -> list[str]:
        return ["".join(cell["source"]) for cell in json.loads((self.data / NAME).read_text())["cells"]]

    def ids(self) -> list[tuple[str, str]]:
        """(id, path) of the documents that the new server knows."""
        with sqlite3.connect(self.rtc / "file_ids.db") as connection:
            return connection.execute("SELECT id, path FROM Files").fetchall()

    def in_store(self) -> list[str]:
        """What a room of the new server would load."""
        with sqlite3.connect(self.rtc / "ystore.db") as connection:
            rows = connection.execute("SELECT yupdate FROM yupdates WHERE path = '.notebook:id-1.y'").fetchall()
        doc: Doc = Doc()
        for (update,) in rows:
            doc.apply_update(update)
        return [cell["source"] for cell in YNotebook(doc).get()["cells"]] if rows else []


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.save("a = 1")
    return made


def test_the_same(node: Node) -> None:
    assert node.restored() == {NAME: Fate.SAME}
    assert node.in_store() == node.on_disk() == ["a = 1"]
    assert node.ids() == [("id-1", f"{node.data}/{NAME}")]


def test_killed_between_the_history_and_the_file(node: Node) -> None:
    node.save("a = 1", "b = 2", file=False)
    assert node.restored() == {NAME: Fate.AHEAD}
    assert node.in_store() == node.on_disk() == ["a = 1", "b = 2"]
    assert node.restored() == {NAME: Fate.SAME}, "and it is stable"


def test_the_file_reached_the_bucket_and_its_history_did_not(node: Node) -> None:
    node.save("a = 1", "b = 2", history=False)
    assert node.restored() == {NAME: Fate.MISSED}
    assert node.in_store() == node.on_disk() == ["a = 1"]
    copies = [path for path in node.data.iterdir() if "conflict" in path.name]
    assert len(copies) == 1
    assert "b = 2" in copies[0].read_text()


def test_a_file_that_others_changed_wins_and_old_tabs_must_reload(node: Node) -> None:
    (node.data / ".preflight-lab" / "sessions.json").write_text("{}")
    (node.data / NAME).write_text(nbformat.writes(nbformat.from_dict(notebook("by git"))))
    os.utime(node.data / NAME, (1e9, 1e9))
    assert node.restored() == {NAME: Fate.FOREIGN}
    assert node.on_disk() == ["by git"]
    assert node.in_store() == []
    assert not (node.data / ".preflight-lab" / "sessions.json").exists()
    assert node.ids() == [("id-1", f"{node.data}/{NAME}")], "a tab of before is asked to reload"
    assert read_histories(node.data) == []


def test_a_save_from_outside_just_before_the_end_becomes_a_named_copy(node: Node) -> None:
    """By `git`, a terminal or a client beside the room: both contents stay, and the copy is told to people."""
    (node.data / NAME).write_text(nbformat.writes(nbformat.from_dict(notebook("from outside"))))
    restored = restore_documents(node.data, node.rtc)
    assert restored.fates == {NAME: Fate.MISSED}
    copy = restored.copies[NAME]
    assert re.fullmatch(r"thesis \(conflict \d{4}-\d\d-\d\d \d\d-\d\d-\d\d\)\.ipynb", copy)
    assert "from outside" in (node.data / copy).read_text()
    assert node.on_disk() == node.in_store() == ["a = 1"]
    at_start(str(node.data), str(node.rtc))
    assert copies_of(node.rtc) == {}, "told once"


def test_one_start_decides_once(node: Node) -> None:
    """Jupyter reads its configuration file several times while it starts."""
    save_of_a_room(node, most_bytes=10)
    for _ in range(2):
        at_start(str(node.data), str(node.rtc))
    assert node.ids() == [("id-1", f"{node.data}/{NAME}")]


def test_a_copy_of_the_start_is_a_conflict_for_the_panel(node: Node, tmp_path: Path) -> None:
    (node.data / NAME).write_text(nbformat.writes(nbformat.from_dict(notebook("from outside"))))
    at_start(str(node.data), str(node.rtc))
    heard: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        heard.append(request)
        return {"ok": True}

    listener = line.Listener(socket_path(tmp_path / "state"), answer)
    listener.start()
    try:
        Keeper(node.data, tmp_path / "state", {"rtc": str(node.rtc)}).begin()
    finally:
        listener.stop()
    assert heard == [{"cmd": "conflict", "path": NAME, "copy": copies_of(node.rtc)[NAME]}]


def save_of_a_room(node: Node, most_bytes: int) -> None:
    """The room's own save of a document whose history may be too large to travel."""
    documents = Documents(node.data, lambda: [Room(node, NAME)], most_bytes=most_bytes)

    async def save() -> History | None:
        return await asyncio.create_task(FileLoader().save(documents, NAME, node.shared.get()))

    history = asyncio.run(save())
    assert history is not None
    documents.write(history)


def test_a_history_too_large_to_travel_asks_its_tabs_to_reload(node: Node) -> None:
    save_of_a_room(node, most_bytes=10)
    (node.data / ".preflight-lab" / "sessions.json").write_text("{}")
    assert next(folder_of(node.data).iterdir()).stat().st_size < 1000
    assert node.restored() == {NAME: Fate.LOST}
    assert node.on_disk() == ["a = 1"]
    assert node.in_store() == [], "the document starts from the file: nothing is merged"
    assert node.ids() == [("id-1", f"{node.data}/{NAME}")]
    assert not (node.data / ".preflight-lab" / "sessions.json").exists()


def test_a_large_document_goes_on_when_jupyterlab_alone_was_restarted(node: Node) -> None:
    node.restored()
    save_of_a_room(node, most_bytes=10)
    assert node.restored() == {NAME: Fate.SAME}
    assert node.in_store() == node.on_disk() == ["a = 1"]


def test_a_text_opened_last_does_not_lock_the_notebooks_tabs_out(node: Node) -> None:
    """The extension keeps one format a session, that of the last document, and refuses tabs of any other."""
    store = node.data / ".preflight-lab" / "sessions.json"
    told = {"version": YDOC_SERVER_VERSION, "created_at": "2026-11-22T07:00:00+00:00"}
    texts = {"of-texts": told | {"document_version": YFile().version}}
    strange = {"of-another-time": told | {"document_version": "0.0.1"}}
    store.write_text(json.dumps(texts | strange))

    def is_refused(session: str) -> bool:
        version = node.shared.version
        return check_session_compatibility("", session, YDOC_SERVER_VERSION, version, str(store))[0]

    assert is_refused("of-texts"), "the reason for what is tested here is gone"
    node.restored()
    assert not is_refused("of-texts")
    assert is_refused("of-another-time")
    assert is_refused("never-heard-of")


def test_a_deleted_notebook_does_not_come_back(node: Node) -> None:
    (node.data / NAME).unlink()
    assert node.restored() == {NAME: Fate.GONE}
    assert not (node.data / NAME).exists()
    assert list(folder_of(node.data).iterdir()) == []


def test_what_the_dead_server_knew_beyond_the_last_save_is_kept(node: Node) -> None:
    """JupyterLab alone was killed: its own store is a second ahead of the file."""
    node.restored()
    node.shared.set(node.shared.get() | notebook("a = 1", "typed"))
    with sqlite3.connect(node.rtc / "ystore.db") as connection:
        connection.execute("INSERT INTO yupdates VALUES ('.notebook:id-1.y', ?, NULL, 2.0)", (node.doc.get_update(),))
    assert node.restored() == {NAME: Fate.AHEAD}
    assert node.in_store() == node.on_disk() == ["a = 1", "typed"]


def test_a_cell_that_ran_when_the_node_vanished_says_so(node: Node) -> None:
    node.shared.ycells[0]["execution_state"] = "running"
    node.save()
    node.restored()
    output = json.loads((node.data / NAME).read_text())["cells"][0]["outputs"][0]
    assert output["name"] == "stderr"
    assert "".join(output["text"]) == MARK
    assert node.restored() == {NAME: Fate.SAME}
    assert len(json.loads((node.data / NAME).read_text())["cells"][0]["outputs"]) == 1, "marked once"


@pytest.mark.parametrize("broken", [b"", b"not json\n", b'{"version": 99}\n', b'{"version": 1}\nxx'])
def test_a_broken_history_starts_afresh(node: Node, broken: bytes) -> None:
    next(folder_of(node.data).iterdir()).write_bytes(broken)
    assert node.restored() == {}
    assert node.in_store() == []
    assert node.on_disk() == ["a = 1"]


def test_histories_that_nobody_has_open_are_forgotten(node: Node) -> None:
    old = folder_of(node.data) / "id-0.ydoc"
    old.write_bytes(next(folder_of(node.data).iterdir()).read_bytes())
    os.utime(old, (1e9, 1e9))
    node.restored()
    assert [one.file_id for one in read_histories(node.data)] == ["id-1"]


def test_a_torn_history_harms_nothing(node: Node) -> None:
    path = next(folder_of(node.data).iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    (node.data / ".preflight-lab" / "sessions.json").write_text("{}")
    assert node.restored() == {NAME: Fate.LOST}
    assert node.on_disk() == ["a = 1"]
    assert node.in_store() == []
    assert node.ids() == [("id-1", f"{node.data}/{NAME}")], "a tab of before reaches the server"
    assert not (node.data / ".preflight-lab" / "sessions.json").exists(), "which asks it to reload"


def test_the_store_is_the_librarys(node: Node, tmp_path: Path) -> None:
    """Our tables are those that the library makes."""
    import anyio

    class Fresh(SQLiteYStore):  # type: ignore[misc]
        db_path = str(tmp_path / "fresh.db")

    async def make() -> None:
        async with Fresh("x") as store:
            await store.db_initialized.wait()

    anyio.run(make)
    node.restored()

    def shape(path: Path) -> set[tuple[Any, ...]]:
        with sqlite3.connect(path) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            columns = {
                (name, column[1], column[2])
                for (name,) in tables
                for column in connection.execute(f"PRAGMA table_info({name})")
            }
            return columns | set(connection.execute("PRAGMA user_version"))

    assert shape(node.rtc / "ystore.db") == shape(tmp_path / "fresh.db")


class FileLoader:
    """Named as the collaboration extension's: its task is how a room's own save is told from others."""

    async def save(self, documents: Documents, path: str, content: object) -> History | None:
        return documents.before_save(path, content)


class Room:
    """An open room as the collaboration extension has it."""

    def __init__(self, node: Node, path: str) -> None:
        self.room_id = "json:notebook:id-1"
        self.ydoc = node.doc
        self.ready = True
        self._file = type("File", (), {"path": path})()


def test_a_document_that_was_only_opened_has_a_history_too(node: Node) -> None:
    """Once; and not before the room holds its content. Its tab is then known by name on the next node."""
    next(folder_of(node.data).iterdir()).unlink()
    room = Room(node, NAME)
    documents = Documents(node.data, lambda: [room])
    room.ready = False
    assert documents.newly_opened() == []
    room.ready = True
    (history,) = documents.newly_opened()
    assert documents.newly_opened() == []
    documents.write(history)
    assert node.restored() == {NAME: Fate.SAME}
    assert node.ids() == [("id-1", f"{node.data}/{NAME}")]


def test_histories_follow_renames_and_deletes(node: Node) -> None:
    rooms = [Room(node, "a/b.ipynb")]
    documents = Documents(node.data, lambda: rooms)

    async def beside() -> History | None:
        return documents.before_save("/a/b.ipynb", {})

    assert asyncio.run(beside()) is None, "a save beside the room is none of its history"

    async def save() -> History | None:
        return await asyncio.create_task(FileLoader().save(documents, "/a/b.ipynb", node.shared.get()))

    history = asyncio.run(save())
    assert history is not None
    assert history.prints[-1] == fingerprint(node.shared.get())
    assert store_path(history) == ".notebook:id-1.y"
    documents.write(history)
    documents.renamed("a", "c")
    assert [one.path for one in read_histories(node.data)] == ["c/b.ipynb"]
    assert documents.before_save("other.ipynb", {}) is None
    documents.forget("c")
    assert read_histories(node.data) == []


def test_a_fingerprint_ignores_what_a_server_adds() -> None:
    plain = notebook("a")
    trusted = notebook("a")
    trusted["cells"][0]["metadata"] = {"trusted": True}
    trusted["cells"][0]["source"] = ["a"]
    trusted["metadata"] = {"language_info": {"name": ""}, "kernelspec": {"name": "", "display_name": ""}}
    assert fingerprint(plain) == fingerprint(trusted)
    assert fingerprint(plain) != fingerprint(notebook("b"))
