"""Containers without a Docker engine: podman with runc, PID 1 under seccomp, on this machine's network."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from tests.support.jupyter import Client, free_port
from tests.support.wait import until

PODMAN = ("podman", "--cgroup-manager", "cgroupfs")


def _limit(which: int) -> str:
    """No more than this machine has itself: runc may not raise it."""
    hard = resource.getrlimit(which)[1]
    most = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    return f"{most}:{most}"


# As this kind of machine needs them: runc with its own cgroups, and limits that an unprivileged container may have.
BARE = (
    "--runtime", "runc", "--no-healthcheck",
    "--ulimit", f"nofile={_limit(resource.RLIMIT_NOFILE)}", "--ulimit", f"nproc={_limit(resource.RLIMIT_NPROC)}",
)  # fmt: skip
RUN = (*BARE, "--network", "host", "--shm-size", "256m")


def podman(*arguments: str, timeout_s: float = 300.0) -> str:
    """stdout of a podman command; AssertionError with its stderr when it fails."""
    done = subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout


def inspect(image: str) -> dict[str, Any]:
    """The image's configuration."""
    found = json.loads(podman("image", "inspect", image))[0]
    assert isinstance(found, dict)
    return found


@dataclass
class Container:
    """A started container. Times are seconds after the start command."""

    id: str
    port: int
    probe_port: int
    started_at: float

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.started_at

    def probe(self, path: str, host: str = "127.0.0.1") -> int:
        """The probe port's status; 0 when nothing listens."""
        try:
            return requests.get(f"http://{host}:{self.probe_port}{path}", timeout=2).status_code
        except requests.RequestException:
            return 0

    def json(self, path: str) -> Any:
        return requests.get(f"http://127.0.0.1:{self.probe_port}{path}", timeout=5).json()

    def wait_ready(self, timeout_s: float = 90.0) -> float:
        """Seconds from the start command until /readyz said 200."""
        until(lambda: self.probe("/readyz") == 200 or not self.runs(), timeout_s, self.log)
        assert self.runs(), self.log()
        return self.age_s

    def login(self, password: str) -> Client:
        client = Client(f"http://127.0.0.1:{self.port}")
        assert client.post_login(password).status_code == 302
        return client

    def sh(self, *command: str, timeout_s: float = 120.0) -> str:
        """stdout of a command inside."""
        return podman("exec", self.id, *command, timeout_s=timeout_s)

    def log(self) -> str:
        done = subprocess.run([*PODMAN, "logs", self.id], capture_output=True, text=True)
        return (done.stdout + done.stderr)[-6000:]

    def runs(self) -> bool:
        return podman("inspect", "--format", "{{.State.Running}}", self.id).strip() == "true"

    def stop(self, timeout_s: int = 60) -> tuple[int, float]:
        """SIGTERM, as platforms do it: the exit code, and how long it took."""
        begun = time.monotonic()
        podman("stop", "--time", str(timeout_s), self.id, timeout_s=timeout_s + 30.0)
        return int(podman("inspect", "--format", "{{.State.ExitCode}}", self.id)), time.monotonic() - begun


@contextmanager
def container(image: str, environ: Mapping[str, str], command: Sequence[str] = ()) -> Iterator[Container]:
    """A container on free ports; removed with everything in it afterwards."""
    port, probe_port = free_port(), free_port()
    variables = {"PREFLIGHT_PORT": str(port), "PREFLIGHT_PROBE_PORT": str(probe_port), **environ}
    settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    begun = time.monotonic()
    name = podman("run", "--detach", *RUN, *settings, image, *command).strip()
    try:
        yield Container(name, port, probe_port, begun)
    finally:
        subprocess.run([*PODMAN, "rm", "--force", "--time", "0", "--volumes", name], capture_output=True)
