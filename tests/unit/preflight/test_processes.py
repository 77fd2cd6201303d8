"""Who is buried by whom."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from preflight import processes, tether
from preflight.processes import Command, describe, kill_group, reap, spawn, terminate
from tests.support.wait import until


def test_only_our_own_are_reaped() -> None:
    somebody = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    until(lambda: _state(somebody.pid) == "Z", 10)
    ours = spawn(Command((sys.executable, "-c", "raise SystemExit(5)"), dict(os.environ)))
    own = frozenset({ours.pid})
    seen: dict[int, int] = {}
    until(lambda: seen.update(reap(own)) or seen, 20)
    ours.returncode = seen[ours.pid]
    assert seen == {ours.pid: 5}
    assert processes.bury_orphans(own) == 0
    assert somebody.wait(5) == 7  # its own waiter still learns how it ended


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_orphans_of_our_children_are_buried() -> None:
    assert tether.prctl(tether.PR_SET_CHILD_SUBREAPER, 1)
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.3)
    os._exit(0)
os.wait()
"""
    try:
        parent = spawn(Command((sys.executable, "-c", code), dict(os.environ)))
        parent.wait(20)
        buried = [0]

        def look() -> bool:
            buried[0] += processes.bury_orphans(frozenset())
            return buried[0] >= 1

        until(look, 10)
    finally:
        tether.prctl(tether.PR_SET_CHILD_SUBREAPER, 0)


def test_a_group_is_killed_whole() -> None:
    code = "import os, time\npid = os.fork()\nprint(pid or os.getpid(), flush=True)\ntime.sleep(60)"
    leader = spawn(Command((sys.executable, "-c", code), dict(os.environ), piped=True))
    assert leader.stdout is not None
    grandchild = int(leader.stdout.readline())
    kill_group(leader.pid)
    assert leader.wait(10) == -9
    leader.stdout.close()
    until(lambda: not os.path.exists(f"/proc/{grandchild}") or _state(grandchild) == "Z", 10)
    terminate(leader.pid)  # a pid that is gone is no error
    kill_group(leader.pid)


def test_a_command_that_does_not_exist_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    child = spawn(Command(("/no/such/program",), dict(os.environ)))
    assert child.wait(20) == 127
    assert "cannot run /no/such/program: No such file or directory" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "status 0"), (3, "status 3"), (-15, "SIGTERM"), (-9, "SIGKILL (out of memory?)"), (-63, "signal 63")],
)
def test_an_exit_status_in_words(status: int, words: str) -> None:
    assert words in describe(status)


def test_a_child_whose_parent_is_gone_does_not_start() -> None:
    try:
        assert tether.exec_child([str(os.getpid()), "0", "0", "--", "/bin/false"]) == 0  # our parent is somebody else
    finally:
        tether.prctl(tether.PR_SET_PDEATHSIG, 0)
