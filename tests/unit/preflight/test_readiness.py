"""When the app may start, and what it says of itself."""

from __future__ import annotations

import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from preflight.board import Board
from preflight.readiness import Gate, Watch, Word, ask_file, ask_url
from preflight.supervisor import Readiness, Service, Started, Tick, View, step
from sync.clock import SystemClock
from sync.status import State, Status
from tests.support.wait import until

GATE = Gate(offline_after_s=20.0)


@pytest.mark.parametrize(
    ("status", "waited_s", "opens", "warns"),
    [
        (Status(state=State.SAVED, restored=True), 1.0, True, False),
        (Status(state=State.SAVING, restored=True), 1.0, True, False),
        (Status(state=State.RESTORING), 1.0, False, False),
        (Status(state=State.RESTORING), 9e9, False, False),  # a long restore is not an outage
        (Status(state=State.OFFLINE, why="no answer"), 5.0, False, False),
        (Status(state=State.OFFLINE, why="no answer"), 20.0, True, True),
        (Status(state=State.FAILED, why="denied"), 0.1, True, True),
        (Status(state=State.FENCED), 0.1, True, True),
        (None, 5.0, False, False),
        (None, 21.0, True, True),  # sync never came up
        (Status(state=State.STARTING), 21.0, True, True),
    ],
)
def test_the_gate(status: Status | None, waited_s: float, opens: bool, warns: bool) -> None:
    word = GATE.opens(status, waited_s)
    assert word.ok is opens
    if opens:
        assert bool(word.why) is warns


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("denied", "nothing is saved: denied"),
        ("no bucket is configured: nothing is saved", "no bucket is configured: nothing is saved"),
    ],
)
def test_a_warning_says_once_that_nothing_is_saved(why: str, said: str) -> None:
    assert GATE.opens(Status(state=State.FAILED, why=why), 0.1).why == said


@pytest.mark.parametrize(
    ("text", "ok", "busy", "why"),
    [
        ("READY", True, False, ""),
        ("", True, False, ""),
        ("BUSY: three to go", True, True, "three to go"),
        ("busy", True, True, "it is busy"),
        ("FAILED out of memory", False, False, "it says FAILED: out of memory"),
        ("DRAINING", False, False, "it says DRAINING"),
    ],
)
def test_ready_files(tmp_path: Path, text: str, ok: bool, busy: bool, why: str) -> None:
    path = tmp_path / "ready"
    assert not ask_file(path).ok
    path.write_text(text)
    word = ask_file(path)
    assert (word.ok, word.busy, word.why) == (ok, busy, why)


class Status429(BaseHTTPRequestHandler):
    """Answers with the number in its path."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/?x=1")))
        self.end_headers()
        self.wfile.write(b"a word")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_ready_urls() -> None:
    server = HTTPServer(("127.0.0.1", 0), Status429)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    root = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert ask_url(f"{root}/200").ok
        assert ask_url(f"{root}/429").busy
        assert ask_url(f"{root}/429").why == "a word"
        assert ask_url(f"{root}/500").why == "it answers 500"
    finally:
        server.shutdown()
        server.server_close()
    assert not ask_url(f"{root}/200").ok


def test_a_bug_while_asking_does_not_end_the_asking(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board = Board(SystemClock(), tmp_path)
    view = View.of((Service("app"),))
    for event in (Tick(), Started("app", 4242)):
        view, _ = step(view, event, 0.0)
    board.post(view=view)
    asked: list[float] = []
    posted: list[object] = []

    def ask(running_s: float) -> Word:
        asked.append(running_s)
        if len(asked) == 1:
            raise RuntimeError("a bug of ours")
        return Word(True)

    watch = Watch(
        board,
        clock=SystemClock(),
        gate=GATE,
        ask=ask,
        post=posted.append,
        on_sync=lambda _: None,
        on_ready=lambda: None,
    )
    with caplog.at_level(logging.ERROR):
        watch.start()
        until(lambda: board.facts.app_ok, 20)
        watch.stop()
        watch.join(5)
    assert "asking met a bug of ours" in caplog.text
    assert Readiness("app", 4242, ok=True) in posted
