"""Start and stop real servers for tests: free ports, own process group, dead when the test process dies."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


# Below the range from which the kernel takes the near ends of connections (32768 up): there a port that was free a
# moment ago is somebody's connection in the next. One after another from a place of this process's own, so that two
# workers do not meet either.
PORTS = range(20_000, 32_000)
_next = itertools.count(os.getpid() * 211)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    found: list[int] = []
    for number in _next:
        port = PORTS[number % len(PORTS)]
        with suppress(OSError), socket.socket() as one:
            one.bind(("", port))
            found.append(port)
        if len(found) >= count:
            break
    return found


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(argv: Sequence[str], *, log: Path, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The process while inside; its whole group is killed afterwards."""
    setpriv = shutil.which("setpriv")
    command = [setpriv, "--pdeathsig", "KILL", *argv] if setpriv else list(argv)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=cwd
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)
