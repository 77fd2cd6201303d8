"""Runs a GPU child and always comes back: a driver call that hangs or crashes costs a child, never the supervisor.

Hangs are told by silence: every call of the child writes a line (preflight/gpu/stages.py). A child that even
SIGKILL does not end (a call stuck in the kernel) is left behind; init reaps it when the driver lets go.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from preflight.gpu.stages import read_line
from sync.clock import Clock

log = logging.getLogger(__name__)

# Started with -I (no user folder, no PYTHON* variables, no user site): a `random.py` beside the notebook must not win.
# The package's own root comes last on the path, so that an uninstalled checkout works too.
_BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from preflight.gpu.child import main; raise SystemExit(main(sys.argv[1:]))"
)
_ROOT = str(Path(__file__).resolve().parents[2])
_PASSED = frozenset({"PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "HOME", "TMPDIR", "LANG", "TZ"})
_PASSED_PREFIXES = ("CUDA_", "NVIDIA_", "PREFLIGHT_NVML_", "PREFLIGHT_CUDA_")
_STDERR_BYTES = 4096
_REAP_S = 0.5
_TICK_S = 0.25


class Ended(enum.StrEnum):
    """How a child went."""

    DONE = "done"
    HUNG = "hung"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child told, and how it ended. `stage` is the call it was in when it did not end well."""

    ended: Ended
    facts: tuple[Mapping[str, object], ...]
    stage: str = ""
    returncode: int | None = None
    stderr: str = ""

    @property
    def why(self) -> str:
        """One sentence on an end that was not good; "" when it was."""
        where = f"in {self.stage}" if self.stage else "before its first call"
        if self.ended is Ended.HUNG:
            return f"the driver did not answer {where}"
        if self.ended is Ended.CRASHED:
            if self.returncode is not None and self.returncode < 0:
                return f"the driver crashed the reading process {where} ({_signal_name(-self.returncode)})"
            return f"the reading process ended with exit code {self.returncode} {where}"
        return ""


def child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What a GPU child may know: where the driver is. No credential passes."""
    passed = {name: value for name, value in environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}
    return passed | {"CUDA_CACHE_DISABLE": "1"}  # or the driver writes compiled kernels into the user's home


def run_child(
    job: str,
    environ: Mapping[str, str],
    clock: Clock,
    *,
    arguments: Iterable[str] = (),
    limit_s: float,
    quiet_s: float,
    stopped: threading.Event | None = None,
) -> Outcome:
    """Runs `job` in a fresh child for at most `limit_s`, and at most `quiet_s` without a new line (the child may say
    another `quiet_s` for what follows), and no longer than until `stopped`.

    Never raises for what the driver does; OSError only when no process can be started at all."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, _ROOT, job, str(limit_s), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environ(environ),
        cwd="/",
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            finished, facts, stderr = _listen(
                child.stdout, child.stderr, clock, limit_s, quiet_s, stopped or threading.Event()
            )
        finally:
            returncode = _end(child)
    return _outcome(finished, facts, stderr, returncode)


def _listen(
    stdout: IO[bytes], stderr: IO[bytes], clock: Clock, limit_s: float, quiet_s: float, stopped: threading.Event
) -> tuple[bool, list[Mapping[str, object]], bytes]:
    facts: list[Mapping[str, object]] = []
    rest, noise = b"", b""
    end_s = clock.monotonic() + limit_s
    quiet_until_s = clock.monotonic() + quiet_s
    with selectors.DefaultSelector() as waiting:
        waiting.register(stdout, selectors.EVENT_READ)
        waiting.register(stderr, selectors.EVENT_READ)
        while waiting.get_map():
            left_s = min(end_s, quiet_until_s) - clock.monotonic()
            if left_s <= 0 or stopped.is_set():
                return False, facts, noise
            for ready, _ in waiting.select(min(left_s, _TICK_S)):
                chunk = os.read(ready.fd, 65536)
                if not chunk:
                    waiting.unregister(ready.fileobj)
                elif ready.fileobj is stderr:
                    noise = (noise + chunk)[-_STDERR_BYTES:]
                else:
                    *lines, rest = (rest + chunk).split(b"\n")
                    new = [fact for fact in map(read_line, lines) if fact is not None]
                    facts += new
                    quiet_s = next((float(str(fact["quiet_s"])) for fact in new if "quiet_s" in fact), quiet_s)
                    quiet_until_s = clock.monotonic() + quiet_s
    return True, facts, noise


def _end(child: subprocess.Popen[bytes]) -> int | None:
    """Kills whatever is left of the child's group; its exit code, None if the kernel does not let it go."""
    try:
        child.wait(0.05)  # the usual end: both pipes are closed, the exit is on its way
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    try:
        return child.wait(_REAP_S)
    except subprocess.TimeoutExpired:
        log.warning("a GPU child does not end after SIGKILL", extra={"pid": child.pid})
        child.returncode = -signal.SIGKILL  # or Popen's own exit would wait for it without end
        return None


def _outcome(finished: bool, facts: list[Mapping[str, object]], stderr: bytes, returncode: int | None) -> Outcome:
    text = stderr.decode("utf-8", "replace").strip()
    if finished and returncode == 0 and facts and facts[-1]["stage"] == "done":
        return Outcome(Ended.DONE, tuple(facts), returncode=0, stderr=text)
    stage = _open_stage(facts)
    ended = Ended.CRASHED if finished else Ended.HUNG
    if ended is Ended.CRASHED and returncode == -signal.SIGALRM:  # its own alarm was first: it hung
        ended = Ended.HUNG
    return Outcome(ended, tuple(facts), stage, returncode, text)


def _open_stage(facts: list[Mapping[str, object]]) -> str:
    """The innermost stage that was begun and not ended."""
    begun: list[str] = []
    for fact in facts:
        stage = str(fact["stage"])
        if fact.get("begin"):
            begun.append(stage)
        elif begun and begun[-1] == stage:
            begun.pop()
    return begun[-1] if begun else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
