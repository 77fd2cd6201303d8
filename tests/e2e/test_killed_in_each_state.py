"""SIGKILL while checking, restoring, starting, stopping: back, nothing lost, `/livez` 200 throughout."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_supervision import child, node, page, pid_of
from tests.support.node import Node
from tests.support.probing import Prober
from tests.support.recovery import Record, back_in_time, promised
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
FILES = 400
SYNC, APP, MONITOR = "preflight-sync run", "the app", "preflight monitor-node"
MARKS = {APP: "app.py", SYNC: "preflight-sync", MONITOR: "monitor-node"}  # in their command lines


@contextmanager
def alive_throughout(one: Node) -> Iterator[None]:
    """`/livez` is 200 from its first answer on."""
    until(lambda: one.probe("/livez")[0] == 200, 60, one.output)
    with Prober(one.probe_port) as prober:
        yield
    assert prober.bad == []


def filled(bucket: Path) -> dict[str, str]:
    """A bucket with many files."""
    (bucket / "work").mkdir(parents=True)
    made = {f"work/{number}.txt": f"file {number} " * 50 for number in range(FILES)}
    for name, text in made.items():
        (bucket / name).write_text(text)
    return made


def found(one: Node, names: dict[str, str]) -> bool:
    return all((one.folder / name).exists() and (one.folder / name).read_text() == text for name, text in names.items())


def test_while_checking(tmp_path: Path, record_property: Record) -> None:
    with node(tmp_path / "node", PREFLIGHT_WARMUP_COMMAND="sleep 5") as one, alive_throughout(one):
        until(lambda: pid_of(one, "examine-node"), 60, one.output)
        with back_in_time("preflight examine-node", "checking", record_property):
            child(one, "examine-node").kill()
            one.wait_ready()
        assert one.probe("/startupz")[0] == 200
        until(lambda: page(one)["condition"] == "DEGRADED", 60, lambda: page(one)["why"])
        assert "killed by SIGKILL" in one.probe("/readyz?verbose")[1]


def test_a_check_that_hangs_ends_as_unknown(tmp_path: Path) -> None:
    with node(tmp_path / "node") as one, alive_throughout(one):
        until(lambda: pid_of(one, "examine-node"), 60, one.output)
        child(one, "examine-node").send_signal(signal.SIGSTOP)
        assert one.probe("/livez")[0] == 200
        assert one.probe("/startupz")[0] == 503
        child(one, "examine-node").send_signal(signal.SIGCONT)
        one.wait_ready()


def test_while_restoring(tmp_path: Path, record_property: Record) -> None:
    names = filled(tmp_path / "node" / "bucket")
    with node(tmp_path / "node") as one, alive_throughout(one):
        until(lambda: (one.folder / "work").exists(), 60, one.output)  # the first file is on its way
        with back_in_time(SYNC, "restoring", record_property):
            child(one, "preflight-sync").kill()
            one.wait_ready()
        assert found(one, names)
        one.wait_saved()
    bucket = tmp_path / "node" / "bucket"
    stored = {str(path.relative_to(bucket)) for path in (bucket / "work").iterdir()}
    assert stored == set(names)  # what the killed restore had placed is recognised, not kept as a second copy
    assert all((bucket / name).read_text() == content for name, content in names.items())


CHILDREN = pytest.mark.parametrize("name", [APP, SYNC, MONITOR])


@CHILDREN
def test_right_after_its_start(name: str, tmp_path: Path, record_property: Record) -> None:
    what = MARKS[name]
    with node(tmp_path / "node") as one, alive_throughout(one):
        killed: list[int] = []
        until(lambda: _killed(one, what, killed), 60, one.output)
        with back_in_time(name, "starting", record_property):
            until(lambda: pid_of(one, what) not in (0, *killed), 60, one.output)
            one.wait_ready()
        one.wait_saved()


@CHILDREN
def test_while_running(name: str, tmp_path: Path, record_property: Record) -> None:
    """Only itself comes back, and what was written meanwhile is saved."""
    with node(tmp_path / "node") as one:
        one.wait_ready()
        one.wait_saved()
        until(lambda: pid_of(one, MARKS[MONITOR]), 60, one.output)
        before = {other: pid_of(one, words) for other, words in MARKS.items()}
        (one.folder / "while.txt").write_text(f"written as {name} died")
        with alive_throughout(one), back_in_time(name, "running", record_property):
            child(one, MARKS[name]).kill()
            until(lambda: pid_of(one, MARKS[name]) not in (0, before[name]), 60, one.output)
            one.wait_ready()
        after = {other: pid_of(one, words) for other, words in MARKS.items()}
        assert [other for other in MARKS if after[other] != before[other]] == [name]
        one.wait_saved()
    assert (tmp_path / "node" / "bucket" / "while.txt").read_text() == f"written as {name} died"


@CHILDREN
def test_while_stopping(name: str, tmp_path: Path, record_property: Record) -> None:
    with node(tmp_path / "node", "stubborn", PREFLIGHT_STOP_APP_S="3") as one:
        one.wait_ready()
        one.wait_saved()
        assert one.process is not None
        until(lambda: pid_of(one, MARKS[name]), 60, one.output)
        target = child(one, MARKS[name])
        (one.folder / "late.txt").write_text("written as it stopped")
        with Prober(one.probe_port) as prober, back_in_time(name, "stopping", record_property):
            one.process.send_signal(signal.SIGTERM)
            _quietly(target.kill)
            until(one.exited, 60, one.output)
        assert one.process.returncode == 0
        assert [bad for bad in prober.bad if bad.isdecimal()] == []  # at its very end nobody listens any more
        assert psutil.pid_exists(target.pid) is False
        assert (one.folder / "late.txt").read_text() == "written as it stopped"
        assert (tmp_path / "node" / "bucket" / "late.txt").read_text() == "written as it stopped"


def test_in_the_last_save(tmp_path: Path, record_property: Record) -> None:
    """Sync is held still from before the stop, so that it has saved nothing when it is killed."""
    with node(tmp_path / "node") as one:
        one.wait_ready()
        one.wait_saved()
        assert one.process is not None
        target = child(one, "preflight-sync")
        target.send_signal(signal.SIGSTOP)
        (one.folder / "late.txt").write_text("written before the last save")
        with Prober(one.probe_port) as prober, back_in_time(SYNC, "saving for the last time", record_property):
            one.process.send_signal(signal.SIGTERM)
            until(lambda: '"stopping a service", "logger": "preflight.loop", "service": "sync"' in one.output(), 60)
            assert not (tmp_path / "node" / "bucket" / "late.txt").exists()
            target.kill()
            until(one.exited, 60, one.output)
        assert one.process.returncode == 0
        assert [bad for bad in prober.bad if bad.isdecimal()] == []
        assert (tmp_path / "node" / "bucket" / "late.txt").read_text() == "written before the last save"
        lease = json.loads((tmp_path / "node" / "bucket" / ".preflight" / "lease.json").read_text())
        assert lease["released"] is True


def _killed(one: Node, what: str, killed: list[int]) -> bool:
    """Whether it was there and got SIGKILL (a process that is just becoming another one shows no command line)."""
    try:
        victim = child(one, what)
        victim.kill()
    except (AssertionError, psutil.Error):
        return False
    killed.append(victim.pid)
    return True


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return


def test_every_promise_is_kept_by_a_test_here() -> None:
    states = {
        "preflight examine-node": {"checking"},
        SYNC: {"starting", "restoring", "running", "stopping", "saving for the last time"},
        APP: {"starting", "running", "stopping"},
        MONITOR: {"starting", "running", "stopping"},
        "preflight-jupyter-lab": {"open"},  # test_jupyterlab_supervised.py
    }
    assert set(promised()) == {(process, state) for process, found in states.items() for state in found}
