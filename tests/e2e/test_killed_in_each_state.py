"""SIGKILL while checking, restoring, starting, stopping: back, nothing lost, `/livez` 200 throughout."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_supervision import child, node, page, pid_of
from tests.support.node import Node
from tests.support.probing import Prober
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
FILES = 400


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


def test_while_checking(tmp_path: Path) -> None:
    with node(tmp_path / "node", PREFLIGHT_WARMUP_COMMAND="sleep 5") as one, alive_throughout(one):
        until(lambda: pid_of(one, "examine-node"), 60, one.output)
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


def test_while_restoring(tmp_path: Path) -> None:
    names = filled(tmp_path / "node" / "bucket")
    with node(tmp_path / "node") as one, alive_throughout(one):
        until(lambda: (one.folder / "work").exists(), 60, one.output)  # the first file is on its way
        child(one, "preflight-sync").kill()
        one.wait_ready()
        assert found(one, names)
        one.wait_saved()
    bucket = tmp_path / "node" / "bucket"
    stored = {str(path.relative_to(bucket)) for path in (bucket / "work").iterdir()}
    assert stored == set(names)  # what the killed restore had placed is recognised, not kept as a second copy
    assert all((bucket / name).read_text() == content for name, content in names.items())


CHILDREN = pytest.mark.parametrize("what", ["app.py", "preflight-sync", "monitor-node"])


@CHILDREN
def test_right_after_its_start(what: str, tmp_path: Path) -> None:
    with node(tmp_path / "node") as one, alive_throughout(one):
        killed: list[int] = []
        until(lambda: _killed(one, what, killed), 60, one.output)
        until(lambda: pid_of(one, what) not in (0, *killed), 60, one.output)
        one.wait_ready()
        one.wait_saved()


@CHILDREN
def test_while_stopping(what: str, tmp_path: Path) -> None:
    with node(tmp_path / "node", "stubborn", PREFLIGHT_STOP_APP_S="3") as one:
        one.wait_ready()
        one.wait_saved()
        assert one.process is not None
        until(lambda: pid_of(one, what), 60, one.output)
        target = child(one, what)
        (one.folder / "late.txt").write_text("written as it stopped")
        one.process.send_signal(signal.SIGTERM)
        _quietly(target.kill)
        assert one.process.wait(60) == 0
        assert psutil.pid_exists(target.pid) is False
        assert (one.folder / "late.txt").read_text() == "written as it stopped"
        if what != "preflight-sync":  # who is killed in the middle of its last save leaves it to the next start
            assert (tmp_path / "node" / "bucket" / "late.txt").read_text() == "written as it stopped"


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
