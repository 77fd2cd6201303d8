"""Kernels and terminals may not read the environment or memory of the processes that started them.

They run as the same user as the supervisor and the sync, which hold the bucket's keys. Linux allows reading
`/proc/PID/environ` and `mem` only to a process whose capabilities are a superset of the target's (ptrace(2),
"Ptrace access mode checking") or that has CAP_PERFMON or CAP_SYS_ADMIN (newer kernels, seen in 6.18). So
JupyterLab gives some up before it starts anything; of Docker's default set only CAP_MKNOD. This also covers PID 1
(tini), which cannot make itself unreadable. Not root: PR_SET_DUMPABLE of the holders protects them.
"""

from __future__ import annotations

import ctypes
import os

PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
CAP_SYS_PTRACE = 19  # debugging one's own children works without it
CAP_SYS_ADMIN = 21
CAP_MKNOD = 27  # makes device files; in Docker's default set, so that without it ours is a real subset
CAP_PERFMON = 38
GIVEN_UP = (CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_MKNOD, CAP_PERFMON)


def drop_reach() -> bool:
    """Take them from everything that this thread will start. False when the kernel refused one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0:
        return True  # a process without capabilities has none to give up
    return all(
        libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 1 or libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0
        for capability in GIVEN_UP
    )
