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


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start it in a session of its own. Raises OSError when even our own wrapper cannot be started."""
    wrapper = (console_script("preflight"), "exec-child", str(os.getpid()), str(command.oom_score_adj), "--")
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
    """Exit statuses of `own` children that ended (negative: the signal), and the burial of adopted orphans."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid in own:
            ended[pid] = os.waitstatus_to_exitcode(status)


def describe(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"it exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"it was killed by {name}" + (" (out of memory?)" if status == -signal.SIGKILL else "")
