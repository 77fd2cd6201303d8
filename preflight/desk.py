"""Where notebooks ask for what needs credentials: one unix socket that only this user can open.

Kernels hold no keys; the bucket's speed, the fleet's history and a check are measured here, by a child with the
container's environment, and only its answer goes back. A closed list of requests.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preflight.lab import line
from preflight.processes import console_script

log = logging.getLogger(__name__)
SOCKET = "desk.sock"
Answer = dict[str, Any]


class Desk:
    """Answers on `<state_dir>/desk.sock` from `start` to `stop`."""

    def __init__(self, state_dir: Path, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
            "ping": lambda _: {"ok": True},
            "check": self._check,
            "history": self._history,
            "benchmark": self._benchmark,
            "trash": lambda _: self._run("trash", 60.0, console_script("preflight-sync"), "trash", "--json"),
            "bring_back": self._bring_back,
        }
        self._listener = line.Listener(state_dir / SOCKET, self._answer)

    def start(self) -> None:
        """Listen. Without its socket only the notebooks that ask for keys' work are poorer: never worth a start."""
        try:
            self._listener.start()
        except OSError as failed:
            log.warning("the desk cannot be opened", extra={"why": str(failed)})

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

    def _bring_back(self, request: Mapping[str, Any]) -> Answer:
        path, at = request.get("path"), request.get("deleted_at")
        if not isinstance(path, str) or not path:
            return {"ok": False, "why": "which file?"}
        when = [f"--at={_stamp(float(at))}"] if isinstance(at, int | float | str) and at else []
        return self._run("path", 120.0, console_script("preflight-sync"), "restore", *when, "--", path, as_text=True)

    def _run(self, name: str, limit_s: float, *argv: str, as_text: bool = False) -> Answer:
        """The child's stdout as JSON under `name`. Exit codes of a verdict are answers, not failures."""
        try:
            done = subprocess.run(argv, env=self._environ, capture_output=True, timeout=limit_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as failed:
            return {"ok": False, "why": f"{name}: {type(failed).__name__} after {limit_s:.0f} s at most"}
        try:
            if as_text and done.returncode == 0:
                return {"ok": True, name: done.stdout.decode("utf-8", "replace").strip()}
            return {"ok": True, name: json.loads(done.stdout)}
        except ValueError:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no answer"]
            return {"ok": False, "why": f"{name}: {last[0][:300]}"}


def _stamp(at_s: float) -> str:
    """As the trash names its folders."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y%m%dT%H%M%SZ")
