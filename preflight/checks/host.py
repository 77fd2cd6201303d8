"""What the container was given: CPUs, memory, shared memory, open files, IPv6."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

from preflight import cgroup
from preflight.checks import Broken, Check, Context, Lane, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity

MIB = 1024.0 * 1024.0
SHM = Path("/dev/shm")


def measure_cpus(context: Context) -> Reading:
    """CPUs' worth of time that this container may use."""
    seen = cgroup.cpus()
    return Reading(seen.count, detail={"source": seen.source})


def measure_memory(context: Context) -> Reading:
    """Bytes that this container may use at all."""
    seen = _memory()
    return Reading(float(seen.limit_bytes), detail={"source": seen.source})


def measure_memory_free(context: Context) -> Reading:
    """Bytes that are left of it now."""
    seen = _memory()
    return Reading(float(seen.available_bytes), detail={"source": seen.source, "limit_bytes": seen.limit_bytes})


def measure_shm(context: Context) -> Reading:
    """Size of /dev/shm in bytes: PyTorch's DataLoader workers pass batches through it."""
    try:
        seen = os.statvfs(SHM)
    except OSError as error:
        raise Unmeasured(f"{SHM} does not tell its size ({error.strerror})") from error
    return Reading(float(seen.f_frsize * seen.f_blocks), detail={"free_bytes": seen.f_frsize * seen.f_bavail})


def measure_open_files(context: Context) -> Reading:
    """How many files a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = float(1 << 20) if soft == resource.RLIM_INFINITY else float(soft)
    return Reading(count, detail={"hard": hard})


def measure_ipv6(context: Context) -> Reading:
    """ "listens" when a server on [::] can be reached; Salad's gateway and its probes come over IPv6."""
    needed = context.platform is not None and context.platform.name == "salad"
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("::1", port), timeout=1.0):
                return Reading("listens")
    except (OSError, ValueError) as error:
        if not needed:
            raise NotExpected("this machine has no IPv6, and nothing here needs it") from error
        raise Broken(
            f"nothing can listen on IPv6 here ({error}): the gateway cannot reach JupyterLab",
            blame=Blame.PLATFORM,
            advice="report it to the platform; IPv6 must be on in the container",
        ) from error


def _memory() -> cgroup.Memory:
    seen = cgroup.memory()
    if seen is None:
        raise Unmeasured("neither a cgroup nor /proc/meminfo tells the memory")
    return seen


CHECKS = (
    Check(
        name="host.cpus",
        title="CPUs of this container",
        unit="count",
        lane=Lane.HOST,
        measure=measure_cpus,
        why="The cgroup's share, not the machine's: what your code will really get.",
        limit=Limit(
            at_least=0.9,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice="ask for more CPUs in the container group",
            why="Salad's smallest container has one CPU; less than that makes JupyterLab itself slow. 0.9 leaves room "
            "for rounding of quotas.",
        ),
    ),
    Check(
        name="host.memory",
        title="Memory of this container",
        unit="B",
        lane=Lane.HOST,
        measure=measure_memory,
        why="The cgroup's limit, not the machine's: beyond it processes are killed.",
        limit=Limit(
            at_least=900 * MIB,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice="ask for more memory in the container group",
            why="JupyterLab, sync and one empty kernel use some 500 MB; Salad's smallest container has 1024 MB.",
        ),
    ),
    Check(
        name="host.memory_free",
        title="Memory left now",
        unit="B",
        lane=Lane.HOST,
        measure=measure_memory_free,
        every_s=15.0,
        why="What is left before the kernel starts to kill.",
        limit=Limit(
            at_least=256 * MIB,
            severity=Severity.WARN,
            blame=Blame.ACCOUNT,
            advice="shut kernels down that you do not need, or ask for more memory",
            why="Below this a new kernel with NumPy and pandas (about 150 MB) may already be the one that is killed. "
            "Whoever uses the memory is to blame, so it never costs a node.",
        ),
    ),
    Check(
        name="host.shm",
        title="Shared memory (/dev/shm)",
        unit="B",
        lane=Lane.HOST,
        measure=measure_shm,
        why="PyTorch's DataLoader workers die with a bus error when it is too small.",
        limit=Limit(
            at_least=256 * MIB,
            severity=Severity.NOTE,
            blame=Blame.ACCOUNT,
            advice="set shm_size in the container group (docker: --shm-size)",
            why="64 MB is the default of Docker and of Salad and enough without DataLoader workers, so it is only "
            "noted; set a limit of yours where you need more. The group's settings are to blame, never the node.",
        ),
    ),
    Check(
        name="host.open_files",
        title="Open files allowed",
        unit="count",
        lane=Lane.HOST,
        measure=measure_open_files,
        why="Kernels, watchers and transfers hold files and sockets open.",
        limit=Limit(
            at_least=1024.0,
            severity=Severity.WARN,
            blame=Blame.PLATFORM,
            advice="raise the container's open-file limit (ulimit -n)",
            why="1024 is the least that Linux distributions set; JupyterLab with ten kernels needs some 500.",
        ),
    ),
    Check(
        name="host.ipv6",
        title="IPv6 can be listened on",
        unit="",
        lane=Lane.HOST,
        measure=measure_ipv6,
        why="Salad's gateway reaches the container over IPv6 only; a server on 0.0.0.0 gives 503.",
        limit=Limit(
            severity=Severity.WARN,
            blame=Blame.PLATFORM,
            advice="report it to the platform",
            why="Works or not: there is no number.",
        ),
    ),
)
