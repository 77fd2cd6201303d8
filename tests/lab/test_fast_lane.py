"""A save made in the browser reaches the sync by itself: also where the kernel has no watches left."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.lab import line
from sync.agenda import Agenda
from sync.control import socket_path
from sync.scan import Diff
from sync.tree import Entry
from tests.support.jupyter import Lab, notebook, running_lab
from tests.support.synced import Machine
from tests.support.wait import until

ROUNDS = 20
APART_S = 0.5  # one scan finds two files within milliseconds; the scans that replace watching come every 5 s
ONE_WATCH = 'echo 1 > /proc/sys/user/max_inotify_watches && exec "$@"'


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """The sync alone, with a watch for the root at most."""
    made = Machine(tmp_path, {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket"})
    (made.data / "quiet").mkdir(parents=True)
    (made.data / "shown").mkdir()
    made.wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", ONE_WATCH, "sh"]
    made.start(timeout_s=60)
    yield made
    made.clean()


@pytest.fixture
def lab(machine: Machine) -> Iterator[Lab]:
    """JupyterLab over the same folder."""
    with running_lab(machine.folder, collaboration=False) as running:
        yield running


def test_saves_of_the_page_need_no_watcher(machine: Machine, lab: Lab) -> None:
    """What the page saves is in the bucket while a file that nobody told of still waits for the next scan."""
    client = lab.login()
    bucket = machine.folder / "bucket"
    for number in range(ROUNDS):
        silent, told = f"quiet/{number}.txt", f"shown/{number}.ipynb"
        (machine.data / silent).write_text("nobody tells")
        assert client.save(told, notebook(f"{number}")).status_code == 201
        until(lambda told=told: (bucket / told).exists(), 60, machine.describe)  # type: ignore[misc]
        time.sleep(APART_S)
        if not (bucket / silent).exists():
            break
        # The scan came at this very moment: once more.
    else:
        raise AssertionError("saves of the page wait for the scans")
    assert client.call("PATCH", f"/api/contents/{told}", json={"path": "shown/renamed.ipynb"}).status_code == 200
    until(lambda: (bucket / "shown/renamed.ipynb").exists() and not (bucket / told).exists(), 60, machine.describe)


def test_nonsense_is_refused_and_folders_can_be_asked(machine: Machine) -> None:
    socket = socket_path(machine.state)
    assert line.ask(socket, {"cmd": "dirty", "paths": "a"}, 30)["ok"] is False
    assert line.ask(socket, {"cmd": "dirty", "paths": ["../etc", ".preflight/x", ""]}, 30) == {
        "ok": True,
        "exit": 0,
        "told": 0,
    }
    assert line.ask(socket, {"cmd": "waiting", "folder": "quiet"}, 30) == {
        "ok": True,
        "exit": 0,
        "files": [],
        "folders": [],
    }


def entry(size: int) -> Entry:
    """A file that was written this very moment."""
    return Entry(mode=stat.S_IFREG | 0o644, size=size, mtime_ns=int(1e18), ctime_ns=int(1e18), ino=1)


def diff(folder: str, **changed: int) -> Diff:
    """What a scan of one folder found."""
    found = {f"{folder}/{name}" if folder else name: entry(size) for name, size in changed.items()}
    return Diff(folder=folder, changed=found)


def test_what_its_writer_calls_whole_waits_for_nothing() -> None:
    agenda = Agenda(lambda path: None)
    agenda.note_whole("a/told")
    agenda.update(diff("a", told=1, untold=1), 100.0, 1e9)
    assert agenda.pending["a/told"].due_s <= 100.0 < agenda.pending["a/untold"].due_s
    agenda.update(diff("a", told=2, untold=2), 101.0, 1e9)
    assert agenda.pending["a/told"].due_s > 101.0, "a later change is another writer's"
    agenda.note_whole("a/told")
    agenda.update(diff("a", told=2, untold=2), 101.01, 1e9)
    assert agenda.pending["a/told"].due_s <= 101.01, "also when a scan had seen it before"


def test_what_waits_in_a_folder() -> None:
    agenda = Agenda(lambda path: None)
    agenda.update(diff("", top=1), 1.0, 1e9)
    agenda.update(diff("a", one=1, two=1), 1.0, 1e9)
    agenda.update(diff("a/b/c", deep=1), 1.0, 1e9)
    assert agenda.waiting_in("") == (["top"], ["a"])
    assert agenda.waiting_in("a") == (["a/one", "a/two"], ["a/b"])
    assert agenda.waiting_in("a/b") == ([], ["a/b/c"])
    assert agenda.waiting_in("ab") == ([], [])
