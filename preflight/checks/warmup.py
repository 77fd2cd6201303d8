"""The user's own measure of fitness: a command that warms the application up and prints a number.

What counts in the end is how fast the work goes: a real-time factor, tokens or steps a second. The command runs
in the data folder, without the bucket's credentials; its last line is the number.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import IO

from preflight.checks import Broken, Check, Context, Lane, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.lab.environment import lab_environ
from preflight.lab.settings import KernelCredentials
from preflight.model import Blame, Limit, Severity

COMMAND = "PREFLIGHT_WARMUP_COMMAND"
TIMEOUT = "PREFLIGHT_WARMUP_TIMEOUT_S"
TIMEOUT_S = 10.0  # the verdict waits for the command: this comes on top of the hard cap of 20 s
LONGEST_S = 1800.0
TAIL_BYTES = 4096


def measure_warmup(context: Context) -> Reading:
    """The number on the last line that the command printed.

    Raises Unmeasured when it takes too long or prints no number, Broken (blame: image) when it fails.
    """
    command = context.environ.get(COMMAND, "").strip()
    if not command:
        raise NotExpected(f"no {COMMAND} is set")
    limit_s = timeout_s(context.environ.get(TIMEOUT, ""))
    folder = context.data_dir if context.data_dir.is_dir() else None
    started = context.clock.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, start_new_session=True,
            env=lab_environ(context.environ, KernelCredentials.STRIP),
        )  # fmt: skip
        try:
            code = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise Unmeasured(f"the warm-up command took longer than {limit_s:.0f} s ({TIMEOUT})") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left running too
            process.wait()
        said, complained = _tail(out), _tail(err)
    if code != 0:
        last = complained.splitlines()[-1] if complained else "it said nothing"
        raise Broken(
            f"the warm-up command ended with {code}: {last[:200]}",
            blame=Blame.IMAGE,
            advice=f"run {COMMAND} in a terminal here: it must end with 0 and print a number on its last line",
        )
    last = said.splitlines()[-1].strip() if said else ""
    try:
        value = float(last)
    except ValueError as error:
        raise Unmeasured(f"the last line of the warm-up command is not a number: {last[:80]!r}") from error
    if not math.isfinite(value):
        raise Unmeasured(f"the warm-up command's number is {last}")
    return Reading(value, detail={"took_s": round(context.clock.monotonic() - started, 3)})


def timeout_s(text: str) -> float:
    """What the user allows the command, in seconds; 10 unless it is a number of 1 to 1800."""
    try:
        value = float(text)
    except ValueError:
        return TIMEOUT_S
    return value if 1.0 <= value <= LONGEST_S else TIMEOUT_S


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    return file.read().decode(errors="replace").strip()


CHECKS = (
    Check(
        name="warmup.result",
        title="Your warm-up command",
        unit="number",
        lane=Lane.WARMUP,
        deadline_s=LONGEST_S + 5.0,  # the command's own limit ends it
        measure=measure_warmup,
        why="Application performance, measured by the application: the number that a node is really rented for.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.NODE,
            advice="this node runs your application slower than you demand",
            why="Only you know what is enough: set PREFLIGHT_LIMIT_WARMUP_RESULT_AT_LEAST; else it is only shown.",
        ),
    ),
)
