"""The pure middle as tables: names, decisions, the guard, the moment at which a file may be read."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import plan, settle
from sync.ignore import Ignore
from sync.names import conflict_path, key_of, path_of, split, stamp, trash_key, unstamp, why_unusable
from sync.plan import Guard, Op
from sync.tree import Entry, Kind, Remote, Row, smudge, unchanged

FILE = Entry(stat.S_IFREG | 0o644, 5, 1_000, 1_000, 7)
EDITED = FILE._replace(size=6, mtime_ns=2_000, ctime_ns=2_000)
ROW = Row(FILE, "v1", 5, b"m" * 16)
SAME = Remote(5, "v1", 1.0, None)
OTHER = Remote(9, "v2", 2.0, None)

names = st.binary(min_size=1, max_size=40).filter(lambda b: b not in (b".", b"..") and not set(b) & {0, 0x2F})


@given(st.lists(names, min_size=1, max_size=4))
def test_every_legal_path_survives_the_round_trip(parts: list[bytes]) -> None:
    path = os.fsdecode(b"/".join(parts))
    key = key_of(path)
    key.encode()  # a key is always UTF-8
    assert path_of(key) == path
    assert why_unusable(key) == ""


@given(st.text(max_size=60))
def test_no_key_is_two_paths_and_no_key_leads_out(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    if why_unusable(key):
        return
    path = path_of(key.rstrip("/"))
    assert key_of(path) == key.rstrip("/")
    assert not path.startswith("/")
    assert ".." not in path.split("/")


@given(names, st.floats(0, 4e9))
def test_a_conflict_copy_has_a_legal_name(name: bytes, at: float) -> None:
    copy = conflict_path("d/" + os.fsdecode(name), "machine/with/slashes", at)
    assert copy.startswith("d/")
    assert len(os.fsencode(copy[2:])) <= 255
    assert "/" not in copy[2:]


def test_stamps_sort_and_come_back() -> None:
    assert stamp(0) == "19700101T000000Z"
    assert unstamp(stamp(1_700_000_000)) == 1_700_000_000
    assert unstamp("yesterday") is None
    assert trash_key("a/b", 0) == ".preflight/trash/19700101T000000Z/a/b"
    assert split("a/b/") == ("a", "b/")


@pytest.mark.parametrize(
    ("local", "row", "op"),
    [
        (None, None, Op.NONE),
        (FILE, None, Op.PUT),
        (FILE, ROW, Op.NONE),
        (EDITED, ROW, Op.PUT),
        (None, ROW, Op.DELETE),
        (FILE._replace(mode=stat.S_IFREG | 0o755), ROW, Op.PUT),
        (FILE, Row(smudge(FILE), "v1", 5, b""), Op.PUT),
        (Entry(stat.S_IFIFO, 0, 0, 0, 1), None, Op.NONE),
        (FILE._replace(extra=3), ROW, Op.PUT),
    ],
)
def test_push(local: Entry | None, row: Row | None, op: Op) -> None:
    assert plan.push(local, row) is op


@pytest.mark.parametrize(
    ("local", "row", "remote", "op"),
    [
        (None, None, SAME, Op.FETCH),
        (FILE, None, SAME, Op.MERGE),
        (FILE, None, None, Op.NONE),
        (FILE, ROW, SAME, Op.NONE),
        (EDITED, ROW, SAME, Op.NONE),
        (None, ROW, SAME, Op.NONE),
        (FILE, ROW, OTHER, Op.FETCH),
        (EDITED, ROW, OTHER, Op.MERGE),
        (None, ROW, OTHER, Op.FETCH),
        (FILE, ROW, None, Op.REMOVE),
        (EDITED, ROW, None, Op.FORGET),
        (None, ROW, None, Op.FORGET),
    ],
)
def test_pull(local: Entry | None, row: Row | None, remote: Remote | None, op: Op) -> None:
    assert plan.pull(local, row, remote) is op


@pytest.mark.parametrize(
    ("deletes", "lately", "known", "held"),
    [
        (1, 0, 1, False),  # the only file may go
        (2, 0, 2, True),  # all of several may not
        (50, 0, 60, False),
        (51, 0, 200, False),
        (51, 0, 100, True),
        (30, 30, 60, True),  # a burst in pieces is a burst
        (1, 0, 10_000, False),
    ],
)
def test_guard(deletes: int, lately: int, known: int, held: bool) -> None:
    assert bool(Guard().why_held(deletes, lately, known)) is held


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "still_since", "closed", "twin", "sent", "due"),
    [
        (10, 100.0, True, False, None, 100.05),
        (10, 100.0, False, False, None, 100.15),
        (10, 130.0, True, False, None, 102.0),  # never still: after two seconds all the same
        (100 * MIB, 130.0, True, False, None, 132.0),
        (100 * MIB, 5000.0, False, False, None, 1000.0),
        (10, 100.0, True, True, None, 160.0),
        (4 * MIB, 100.0, True, False, 99.0, 103.0),
        (MIB, 100.0, True, False, 100.0, 100.25),  # the second save of a notebook waits for no more than that
    ],
)
def test_due_at(size: int, still_since: float, closed: bool, twin: bool, sent: float | None, due: float) -> None:
    found = settle.due_at(
        size=size, first_s=100.0, still_since_s=still_since, was_closed=closed, has_twin=twin, last_sent_s=sent
    )
    assert found == pytest.approx(due)


def test_rank_puts_notebooks_and_git_objects_first() -> None:
    paths = ["model.pt", ".git/HEAD", "a.ipynb", ".git/objects/ab/cd", "x.bin"]
    sizes = {"model.pt": 100 * MIB, "x.bin": 100 * 1024}
    ranked = sorted(paths, key=lambda p: settle.rank(p, sizes.get(p, 10)))
    assert ranked.index(".git/objects/ab/cd") < ranked.index(".git/HEAD")
    assert ranked.index("a.ipynb") < ranked.index("x.bin") < ranked.index("model.pt")
    assert settle.git_folder("deep/repo/.git/refs/x") == "deep/repo/.git"
    assert settle.git_folder("my.git/x") is None


@pytest.mark.parametrize(
    ("path", "is_folder", "ignored"),
    [
        (".preflight", True, True),
        ("a/.preflight", True, False),
        (".~x.ipynb", False, True),
        ("x.pyc", False, True),
        (".cache", True, True),
        (".cache", False, False),
        ("lab-journal", False, False),
        ("study.db-journal", False, True),
        ("keep.log", False, False),
        ("drop.log", False, True),
        ("sub/drop.log", False, True),
        ("important.pyc", False, False),
        ("big", True, True),
    ],
)
def test_ignore(path: str, is_folder: bool, ignored: bool) -> None:
    rules = Ignore(["*.log", "!keep.log", "!important.pyc", "/big/", "# a comment", ""])
    assert bool(rules.why(path, is_folder=is_folder)) is ignored


def test_a_bad_pattern_is_named_and_the_others_count() -> None:
    rules = Ignore(["!", "*.tmp"])
    assert rules.why("x.tmp", is_folder=False)
    assert len(rules.faults) <= 1


def test_an_empty_folder_is_unchanged_while_its_mode_is() -> None:
    folder = Entry(stat.S_IFDIR | 0o755, 4096, 1, 1, 2)
    row = Row(folder, "v", 0, None)
    assert folder.kind is Kind.DIR
    assert unchanged(folder._replace(mtime_ns=99, ctime_ns=99), row)
    assert not unchanged(folder._replace(mode=stat.S_IFDIR | 0o700), row)
