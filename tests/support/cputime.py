"""CPU time of a running process to the nanosecond: the kernel's own account, not ticks of 10 ms."""

from __future__ import annotations

import time

SCHEDULED = 2  # CPUCLOCK_SCHED: what the scheduler gave it, user and system together


def cpu_s(pid: int) -> float:
    """Seconds of processor time of all threads of `pid` so far, those that ended included.

    The clock's number is what clock_getcpuclockid(3) makes of a pid. Raises OSError when there is no such process.
    """
    return time.clock_gettime((~pid << 3) | SCHEDULED)
