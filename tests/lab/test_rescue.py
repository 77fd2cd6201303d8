"""What an old tab held is merged where its history goes on, and a named copy everywhere else. Nothing is dropped."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from jupyter_ydoc import YFile, YNotebook
from pycrdt import Doc

from preflight.lab.documents import fingerprint
from preflight.lab.rescue import Facts, Held, Known, Outcome, Rescue, outcome
from tests.support.jupyter import notebook

NOW_S = 1_795_341_900.0  # 2026-11-22 10:05:00


def test_every_case_is_decided_and_text_that_nobody_has_is_never_dropped() -> None:
    for flags in itertools.product([False, True], repeat=6):
        facts = Facts(*flags)
        found = outcome(facts)
        if found is Outcome.HEALS:
            assert facts.is_accepted
            assert facts.is_open
        if found is Outcome.SAME:
            assert facts.is_saved or (facts.is_accepted and facts.is_contained)
        if found is Outcome.MERGED:
            assert facts.is_accepted
            assert facts.has_room
        if found is Outcome.OPEN:
            assert facts.is_accepted
            assert not facts.is_last_try


class Tab:
    """A text as a tab holds it, and what the server knows of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.doc: Doc = Doc()
        self.shared = YFile(self.doc)
        self.shared.set("saved")
        self.is_accepted = False
        self.prints: tuple[str, ...] = (fingerprint("saved"),)
        self.room: Doc | None = None
        self.history = self.doc.get_update()
        (folder / "a.txt").write_text("by git")

    def typed(self, text: str) -> None:
        self.shared._ysource += text

    def bring(self, *, is_open: bool = False, is_last_try: bool = False, path: str = "a.txt") -> tuple[Outcome, str]:
        known = Known(self.is_accepted, self.prints, self.room, self.history)
        rescue = Rescue(self.folder, lambda held, room_id: known, lambda: NOW_S)
        return rescue.settle(
            Held(path, "file", "of-before", is_open, is_last_try, "Fire/../fox", self.doc.get_update())
        )


@pytest.fixture
def tab(tmp_path: Path) -> Tab:
    return Tab(tmp_path)


def test_what_was_saved_once_makes_no_copy(tab: Tab) -> None:
    assert tab.bring() == (Outcome.SAME, "")
    assert [path.name for path in tab.folder.iterdir()] == ["a.txt"]


def test_what_no_server_goes_on_with_becomes_one_named_copy(tab: Tab) -> None:
    tab.typed(", and typed without a node")
    found, copy = tab.bring(is_open=True)
    assert found is Outcome.COPY
    assert re.fullmatch(r"a \(conflict Firefox 2026-11-22 \d\d-\d\d-\d\d\)\.txt", copy)
    assert (tab.folder / copy).read_text() == "saved, and typed without a node"
    assert (tab.folder / "a.txt").read_text() == "by git"
    assert tab.bring() == (Outcome.COPY, copy), "another tab that holds the same, or the same page loaded anew"
    tab.typed("!")
    assert tab.bring()[1] not in ("", copy), "another text, another copy"


def test_where_the_history_goes_on_it_is_merged(tab: Tab) -> None:
    tab.is_accepted = True
    assert tab.bring(is_open=True)[0] is Outcome.HEALS
    tab.typed(" #one")
    assert tab.bring()[0] is Outcome.OPEN
    room: Doc = Doc()
    room.apply_update(tab.history)
    others = YFile(room)
    others._ysource.insert(0, "#two ")
    tab.room = room
    assert tab.bring()[0] is Outcome.MERGED
    assert others.get() == "#two saved #one"
    assert tab.bring()[0] is Outcome.SAME, "once"
    others.set("deleted on purpose")
    assert tab.bring()[0] is Outcome.SAME, "what was deleted afterwards does not come back"
    assert others.get() == "deleted on purpose"


def test_a_document_that_does_not_open_is_copied(tab: Tab) -> None:
    tab.is_accepted = True
    tab.typed(" #one")
    assert tab.bring(is_last_try=True)[0] is Outcome.COPY


def test_a_file_that_is_gone_gets_its_copy_too(tab: Tab) -> None:
    (tab.folder / "a.txt").unlink()
    tab.typed(" #one")
    found, copy = tab.bring(path="deep/er/a.txt")
    assert found is Outcome.COPY
    assert (tab.folder / copy).read_text() == "saved #one"


def test_notebooks(tmp_path: Path) -> None:
    doc: Doc = Doc()
    shared = YNotebook(doc)
    shared.set(notebook("a = 1"))
    known = Known(False, (), None, b"")
    rescue = Rescue(tmp_path, lambda held, room_id: known, lambda: NOW_S)
    found, copy = rescue.settle(Held("a.ipynb", "notebook", "x", True, False, "Chrome", doc.get_update()))
    assert found is Outcome.COPY
    assert '"a = 1"' in (tmp_path / copy).read_text()
    shared.set(notebook(""))
    assert rescue.settle(Held("a.ipynb", "notebook", "x", True, False, "Chrome", doc.get_update()))[0] is Outcome.SAME


@pytest.mark.parametrize("path", ["../a.txt", "/etc/passwd", "", ".preflight/x", ".preflight-lab/documents/x"])
def test_only_into_the_users_folder(tab: Tab, path: str) -> None:
    tab.typed("!")
    with pytest.raises(ValueError, match="no such place"):
        tab.bring(path=path)


def test_what_cannot_be_understood_is_refused(tab: Tab) -> None:
    known = Known(False, (), None, b"")
    rescue = Rescue(tab.folder, lambda held, room_id: known, lambda: NOW_S)
    with pytest.raises(ValueError, match="update"):
        rescue.settle(Held("a.txt", "file", "x", True, False, "Chrome", b"\x01junk"))
