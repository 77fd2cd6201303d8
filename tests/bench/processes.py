"""Run a whole process and account for it as the operating system does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.rows import Cost

BIN = Path(__file__).resolve().parents[2] / ".venv" / "bin"


def run(argv: Sequence[str], environ: Mapping[str, str], *, cwd: Path | None = None, timeout_s: float = 600) -> Cost:
    """Run to the end; output goes to a file that is shown when the command fails."""
    log = Path(f"/tmp/preflight-bench-{os.getpid()}.log")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    with log.open("wb") as out:
        done = subprocess.run(list(argv), env=dict(environ), cwd=cwd, stdout=out, stderr=out, timeout=timeout_s)
    wall_s = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0,):
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {log.read_text(errors='replace')[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s, after.ru_maxrss * 1024, done.returncode)


def cpu_s(pid: int) -> float:
    """User and system seconds of a running process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Resident memory of a running process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def clean_environ(**extra: str) -> dict[str, str]:
    """PATH and HOME only, plus what is given: nothing of the developer's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root"), **extra}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads its own group, with everything that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
