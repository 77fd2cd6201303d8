"""Where JupyterLab and the notebooks ask the supervisor: one unix socket that only this user can open.

They hold no credentials; what needs them (the bucket's speed, the fleet's history, handing the node back) is done here,
by a child with the container's environment, and only its answer goes back. A closed list of requests.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from preflight.lab import line
from preflight.platforms import Platform
from preflight.processes import console_script
from preflight.reallocation import move
from sync.control import socket_path
from sync.status import read_status

log = logging.getLogger(__name__)
SOCKET = "supervisor.sock"
Answer = dict[str, Any]


def move_away(state_dir: Path, platform: Platform, request: Mapping[str, Any], *, has_sync: bool) -> Answer:
    """Save everything, verify that it is saved, hand the node back: a person asked for another one.

    Refuses while anything is unsaved, also when the sync does not answer.
    """
    if not platform.can_reallocate:
        return {"ok": False, "why": f"platform {platform.name} has no way to ask for another node from inside"}
    if has_sync:
        limit_s = min(300.0, float(request.get("timeout_s", 60.0)))
        try:
            flushed = line.ask(socket_path(state_dir), {"cmd": "flush", "timeout_s": limit_s}, limit_s + 5.0)
        except line.NoAnswer as silence:
            return {"ok": False, "why": f"nothing was moved: {silence}"}
        status = read_status(state_dir)
        if flushed.get("ok") is not True or status is None or status.pending_files:
            left = "an unknown number of" if status is None else str(status.pending_files)
            return {"ok": False, "why": f"nothing was moved: {left} files are not saved. {flushed.get('why', '')}"}
    return move(platform, "a person asked for another node from JupyterLab")


class Desk:
    """Answers on `<state_dir>/supervisor.sock` from `start` to `stop`; `move` hands the node back."""

    def __init__(
        self, state_dir: Path, environ: Mapping[str, str], move: Callable[[Mapping[str, Any]], Answer]
    ) -> None:
        self._environ = dict(environ)
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
            "ping": lambda _: {"ok": True},
            "move": move,
            "check": self._check,
            "history": self._history,
            "benchmark": self._benchmark,
        }
        self._listener = line.Listener(state_dir / SOCKET, self._answer)

    def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        self._listener.start()

    def stop(self) -> None:
        """Close the socket."""
        self._listener.stop()

    def _answer(self, request: Mapping[str, Any]) -> Answer:
        answer = self._answers.get(str(request.get("cmd")))
        if answer is None:
            return {"ok": False, "why": f"there is no request {request.get('cmd')!r}"}
        log.info("asked at the desk", extra={"cmd": request["cmd"]})
        return answer(request)

    def _check(self, request: Mapping[str, Any]) -> Answer:
        only = [f"--only={name}" for name in request.get("only", ()) if isinstance(name, str)]
        return self._run("report", 120.0, console_script("preflight"), "check", "--json", *only)

    def _history(self, request: Mapping[str, Any]) -> Answer:
        limit = int(request.get("limit", 200))
        return self._run("history", 60.0, sys.executable, "-I", "-m", "preflight.lab.fleet", str(limit))

    def _benchmark(self, request: Mapping[str, Any]) -> Answer:
        sizes = [str(int(size)) for size in request.get("sizes_bytes", ())]
        repeats = str(int(request.get("repeats", 3)))
        return self._run("benchmark", 300.0, sys.executable, "-I", "-m", "preflight.lab.benchmark", repeats, *sizes)

    def _run(self, name: str, limit_s: float, *argv: str) -> Answer:
        """The child's stdout as JSON under `name`. Exit codes of a verdict are answers, not failures."""
        try:
            done = subprocess.run(argv, env=self._environ, capture_output=True, timeout=limit_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as failed:
            return {"ok": False, "why": f"{name}: {type(failed).__name__} after {limit_s:.0f} s at most"}
        try:
            return {"ok": True, name: json.loads(done.stdout)}
        except ValueError:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no answer"]
            return {"ok": False, "why": f"{name}: {last[0][:300]}"}
