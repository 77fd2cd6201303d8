"""What JupyterLab prints, in our log's form: warnings at once, its last lines when it dies unasked.

Read as bytes arrive, not line by line: a prompt or a crash in the middle of a line has no newline, and a kernel that
outlives its server holds the pipe open long after the server's last word.
"""

from __future__ import annotations

import logging
import os
import re
import select
import subprocess
from collections import deque

from preflight.board import Board, Stage

jupyter = logging.getLogger("jupyterlab")
LINE = re.compile(r"^\[([DIWEC]) \d{4}-\d\d-\d\d [\d:.]+ (\w+)\] ?(.*)$")
LEVELS = {"D": logging.DEBUG, "I": logging.INFO, "W": logging.WARNING, "E": logging.ERROR, "C": logging.CRITICAL}
# The platform's gateway speaks TLS; and that it was told to stop is our doing, not news.
BY_DESIGN = re.compile(r"listening on all IP addresses and not using encryption|^received signal \d+, stopping")
LAST_LINES = 30
QUIET_S = 0.5  # half a line that waits this long is told as it is
LOOK_S = 2.0  # how often it is asked whether the process still lives
LONGEST_BYTES = 8192  # and so is one that never ends


class Retelling:
    """The lines of one life of JupyterLab."""

    def __init__(self) -> None:
        self._level = logging.INFO  # a traceback's lines belong to the line above them
        self._rest = b""
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    def take(self, piece: bytes) -> None:
        """Some more of its output."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            self._tell(line)
        if len(self._rest) > LONGEST_BYTES:
            self.pause()

    @property
    def waits(self) -> bool:
        """Whether there is half a line."""
        return bool(self._rest)

    def pause(self) -> None:
        """Nothing more came for a while: what is there is told."""
        rest, self._rest = self._rest, b""
        self._tell(rest)

    def last_lines(self) -> list[str]:
        """What it said before its end; each line is given once."""
        lines = list(self._last)
        self._last.clear()
        return lines

    def _tell(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").rstrip()
        if found := LINE.match(line):
            self._level, line = LEVELS[found[1]], found[3]
        if line.strip() and not BY_DESIGN.search(line):
            self._last.append(line)
            jupyter.log(self._level if self._level > logging.INFO else logging.DEBUG, "%s", line)


def retell(board: Board, process: subprocess.Popen[bytes]) -> None:
    """Until nobody holds the pipe any more. The loop sets `process.returncode` when it has buried the process."""
    told = Retelling()
    assert process.stdout is not None
    with process.stdout as stream:
        number = stream.fileno()
        poll = select.poll()  # select.select knows no descriptor above 1023
        poll.register(number, select.POLLIN)
        while True:
            if poll.poll((QUIET_S if told.waits else LOOK_S) * 1000):
                piece = os.read(number, 65536)
                if not piece:
                    break
                told.take(piece)
                continue
            told.pause()
            if process.returncode is not None:
                _say_last_lines(told, board)
    told.pause()
    _say_last_lines(told, board)


def _say_last_lines(told: Retelling, board: Board) -> None:
    lines = told.last_lines()
    if lines and board.facts.stage is not Stage.STOPPING:
        jupyter.warning("its last lines", extra={"lines": lines})
