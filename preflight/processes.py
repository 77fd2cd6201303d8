"""Child processes as the kernel sees them: started in a group of their own, signalled, reaped.

Every child is started through `preflight exec-child`, a tiny program that ties it to the supervisor's life
(PR_SET_PDEATHSIG) and then becomes the child: `preexec_fn` is not safe in a process with threads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NICE = os.getpriority(os.PRIO_PROCESS, 0)  # as we were started: what every child gets
AHEAD = 5  # the supervisor answers probes before a busy notebook gets its next slice


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `piped` gives its standard output to us; otherwise it writes where we write."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    piped: bool = False
    merged: bool = False  # with `piped`: standard error too
    oom_score_adj: int = 0  # above 0: the kernel's out-of-memory killer takes it before us


def console_script(name: str) -> str:
    """The absolute path of one of our own console scripts (never `python -m` in the user's folder)."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def step_ahead() -> None:
    """Run a little ahead of our children, where the system lets us. Call before any thread is made."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE - AHEAD)


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start it in a session of its own. Raises OSError when even our own wrapper cannot be started."""
    wrapper = (console_script("preflight"), "exec-child", str(os.getpid()), str(command.oom_score_adj), str(NICE), "--")
    return subprocess.Popen(
        (*wrapper, *command.argv),
        env=dict(command.env),
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if command.piped else None,
        stderr=subprocess.STDOUT if command.merged else None,
        start_new_session=True,
    )


def terminate(pid: int) -> None:
    """SIGTERM to the process alone: it ends its own children in the order it knows."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def kill_group(pid: int) -> None:
    """SIGKILL to its whole group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def reap(own: frozenset[int]) -> dict[int, int]:
    """Exit statuses of `own` children that ended (negative: the signal). Nobody else's child is touched."""
    ended: dict[int, int] = {}
    for pid in own:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended[pid] = 1  # buried by somebody else: gone is all that is known
            continue
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def bury_orphans(own: frozenset[int]) -> int:
    """Bury what our children left behind and the kernel gave to us (PR_SET_CHILD_SUBREAPER); how many.

    They come from the sessions of our children; what a thread of ours started itself has our session and its own
    waiter, who must not lose the exit status to us.
    """
    buried, session = 0, os.getsid(0)
    for tasks in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError, ValueError):
            for pid in map(int, tasks.read_text().split()):
                if pid not in own and _is_foreign_zombie(pid, session):
                    with contextlib.suppress(ChildProcessError):
                        buried += os.waitpid(pid, os.WNOHANG)[0] == pid
    return buried


def _is_foreign_zombie(pid: int, session: int) -> bool:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0] == "Z" and int(fields[3]) != session


def describe(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"it exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"it was killed by {name}" + (" (out of memory?)" if status == -signal.SIGKILL else "")
