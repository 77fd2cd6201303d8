"""Keep this process's environment and memory from others of the same user: it holds the bucket's keys."""

from __future__ import annotations

import ctypes

PR_SET_DUMPABLE = 4


def hide_process() -> bool:
    """Make `/proc/self/environ` and `mem` unreadable to processes without CAP_SYS_PTRACE; False when refused.

    Call it first thing in `main`: the flag is reset by every exec and inherited by fork.
    """
    return bool(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
