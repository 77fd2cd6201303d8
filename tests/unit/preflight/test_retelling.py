"""JupyterLab's output: in time, whole, without what is by design, and its last words when it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preflight.board import Board, Stage
from preflight.logs import Text
from preflight.retelling import LONGEST_BYTES, Retelling, retell
from sync.clock import SystemClock
from tests.support.wait import until


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(one.levelno, one.getMessage()) for one in caplog.records if one.name == "jupyterlab"]


def test_lines_have_their_level_and_what_belongs_to_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jupyterlab")
    told = Retelling()
    told.take(b"[I 2026-11-22 07:00:00.123 ServerApp] serving\n[E 2026-11-22 07:00:01.0 ServerApp] it broke\n  Trace")
    told.take(b"back\n\n[W 2026-11-22 07:00:02.000 LabApp] careful\n")
    assert messages(caplog) == [
        (logging.DEBUG, "serving"), (logging.ERROR, "it broke"), (logging.ERROR, "  Traceback"),
        (logging.WARNING, "careful"),
    ]  # fmt: skip
    assert told.last_lines() == ["serving", "it broke", "  Traceback", "careful"]
    assert told.last_lines() == []


@pytest.mark.parametrize(
    "line",
    [
        "[C 2026-11-22 07:00:00.123 ServerApp] received signal 15, stopping",
        "[W 2026-11-22 07:00:00.1 ServerApp] The Jupyter server is listening on all IP addresses and not using "
        "encryption. This is not recommended.",
    ],
)
def test_what_is_our_own_doing_is_no_news(line: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jupyterlab")
    told = Retelling()
    told.take(line.encode() + b"\n")
    assert messages(caplog) == []


def test_a_line_that_never_ends_is_told_in_pieces(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jupyterlab")
    told = Retelling()
    told.take(b"x" * (LONGEST_BYTES + 1))
    assert messages(caplog) == [(logging.DEBUG, "x" * (LONGEST_BYTES + 1))]
    assert not told.waits


@contextmanager
def retold(script: str, board: Board) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    thread = threading.Thread(target=retell, args=(board, process), daemon=True)
    thread.start()
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
        thread.join(60)
        assert not thread.is_alive()


def test_half_a_line_is_told_while_the_process_lives(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jupyterlab")
    script = "import sys; sys.stderr.write('half a line'); sys.stderr.flush(); sys.stdin.read()"
    with retold(script, Board(SystemClock(), tmp_path)) as process:
        until(lambda: (logging.DEBUG, "half a line") in messages(caplog), 60)
        assert process.poll() is None


def test_last_lines_come_with_the_death_even_if_the_pipe_stays_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel holds its server's pipe. A stop that was asked for has no last lines to tell."""
    script = "import os, sys, time; print('fatal', flush=True)\nif os.fork() == 0: sys.stdin.read()"
    board = Board(SystemClock(), tmp_path)
    with retold(script, board) as process:
        process.wait(60)
        until(lambda: (logging.WARNING, "its last lines") in messages(caplog), 60)
        found = [one for one in caplog.records if one.getMessage() == "its last lines"]
        assert [vars(one)["lines"] for one in found] == [["fatal"]]
    caplog.clear()
    board.post(stage=Stage.STOPPING)
    with retold("print('bye')", board):
        pass
    assert messages(caplog) == []


def test_lines_stand_below_each_other_on_a_terminal() -> None:
    record = logging.makeLogRecord({"msg": "its last lines", "levelname": "WARNING", "lines": ["one", "two"]})
    shown = Text().format(record)
    assert shown.endswith(f"! its last lines{os.linesep}             one{os.linesep}             two")
