"""`preflight exec-child PARENT OOM NICE -- COMMAND…`: ties a child to the supervisor's life, then becomes the child.

Its own file, with next to no imports: it stands in front of every start of every child.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
SIGTERM = 15


def prctl(option: int, value: int) -> bool:
    """Set one attribute of this process; False where the system does not know it."""
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def exec_child(argv: Sequence[str]) -> int:
    """Returns only when the command cannot be run (127) or the supervisor is already gone (0)."""
    parent, adjust, nice, _, *command = argv
    prctl(PR_SET_PDEATHSIG, SIGTERM)
    if os.getppid() != int(parent):
        return 0  # it died before the tie was made
    with suppress(OSError):  # courtesies: nothing depends on them
        os.setpriority(os.PRIO_PROCESS, 0, int(nice))  # the supervisor runs ahead of its children
    if int(adjust):
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write(adjust)
    try:
        os.execvp(command[0], command)
    except OSError as failed:
        os.write(2, f"preflight: cannot run {command[0]}: {failed.strerror}\n".encode())
        return 127
