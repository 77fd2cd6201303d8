"""What a person sees who starts it on a terminal: checks, verdict, restore, address, and at the end what is saved."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

from tests.support.node import PREFLIGHT, free_port

pytestmark = pytest.mark.timeout(360)
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
APP = Path(__file__).parent.parent / "support" / "app.py"


class Terminal:
    """A command on a pseudo-terminal of 100 columns."""

    def __init__(self, argv: list[str], environ: dict[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            argv, env=environ, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, text: str, limit_s: float) -> str:
        """Everything shown so far, once it holds `text`; colours left out."""
        ends = time.monotonic() + limit_s
        while text not in self.shown:
            assert time.monotonic() < ends, f"no {text!r} in:\n{self.shown[-3000:]}"
            if not select.select([self._ours], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the other side is gone
                piece = b""
            assert piece or text in self.shown, f"ended without {text!r}:\n{self.shown[-3000:]}"
            self.shown += CODES.sub("", piece.decode("utf-8", "replace"))
        return self.shown

    def close(self) -> None:
        """End whatever still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        os.close(self._ours)


def test_the_story_of_a_start(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    (bucket / "work").mkdir(parents=True)
    for number in range(30):
        (bucket / "work" / f"{number}.txt").write_text("kept " * 1000)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm-256color",
        "PREFLIGHT_STORE": f"file://{bucket}",
        "PREFLIGHT_PORT": str(free_port()),
        "PREFLIGHT_PROBE_PORT": str(free_port()),
    }
    terminal = Terminal([str(PREFLIGHT), "up", "--", sys.executable, str(APP)], environ, tmp_path)
    try:
        terminal.read_until("Checking this node", 60)
        shown = terminal.read_until("ACCEPT", 60)
        assert "Free disk space" in shown
        assert "Restoring" in terminal.read_until("30/30 files", 60)
        assert f"http://localhost:{environ['PREFLIGHT_PORT']}" in terminal.read_until("is open:", 60)
        terminal.process.send_signal(signal.SIGINT)
        assert "Stopping" in terminal.read_until("Everything is saved", 60)
        assert terminal.process.wait(20) == 0
        assert '{"' not in terminal.shown
        assert "Traceback" not in terminal.shown
        assert (tmp_path / ".local" / "data" / "work" / "29.txt").read_text() == "kept " * 1000
    finally:
        terminal.close()


def test_wrong_settings_on_a_terminal_are_one_line_each(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PREFLIGHT_PORT": "x",
        "PREFLIGHT_LIMIT_NOPE_AT_LEAST": "1",
    }
    terminal = Terminal([str(PREFLIGHT), "up"], environ, tmp_path)
    try:
        shown = terminal.read_until("PREFLIGHT_LIMIT_NOPE_AT_LEAST", 60)
        assert "PREFLIGHT_PORT" in shown
        assert terminal.process.wait(20) == 2
        assert not (tmp_path / ".local").exists()
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("flush_s", "last"),
    [("30", "Everything is saved in"), ("0", "The last save was cut short")],
    ids=["time", "no time"],
)
def test_the_last_line_is_true_when_the_last_save_is_killed(flush_s: str, last: str, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm-256color",
        "PREFLIGHT_STORE": f"file://{tmp_path}/bucket",
        "PREFLIGHT_FLUSH_TIMEOUT_S": flush_s,
        "PREFLIGHT_PORT": str(free_port()),
        "PREFLIGHT_PROBE_PORT": str(free_port()),
    }
    (tmp_path / "bucket").mkdir()
    terminal = Terminal([str(PREFLIGHT), "up", "--", sys.executable, str(APP)], environ, tmp_path)
    try:
        terminal.read_until("is open:", 60)
        children = psutil.Process(terminal.process.pid).children()
        app = next(one for one in children if "app.py" in " ".join(one.cmdline()))
        sync = next(one for one in children if "preflight-sync" in " ".join(one.cmdline()))
        sync.send_signal(signal.SIGSTOP)
        (tmp_path / ".local" / "data" / "late.txt").write_text("late")
        terminal.process.send_signal(signal.SIGINT)
        app.wait(60)
        sync.kill()
        shown = terminal.read_until("Stopped. ", 60)
        shown = terminal.read_until("this machine" if flush_s == "0" else "saved in", 60)
        assert last in " ".join(shown.split())
        assert terminal.process.wait(60) == 0
        assert (tmp_path / "bucket" / "late.txt").exists() == (flush_s != "0")
        assert ("Everything is saved" in shown) == (flush_s != "0")
    finally:
        terminal.close()
