"""The loop around the step: real processes, and bugs of our own that it must survive."""

from __future__ import annotations

import logging
import os
import sys
import threading

import pytest

from preflight.loop import Loop, Signals
from preflight.processes import Command
from preflight.supervisor import Service, Stop, View
from sync.clock import SystemClock
from tests.support.wait import until

SLEEPER = Command((sys.executable, "-c", "import time; time.sleep(60)"), dict(os.environ))


class Running:
    """A loop in a thread of its own (its signals are never installed)."""

    def __init__(self, commands: dict[str, object], **options: object) -> None:
        self.views: list[View] = []
        services = tuple(Service(name, backoff_s=0.05, stop_deadline_s=5.0) for name in commands)
        on_view = options.pop("on_view", self.views.append)
        self.loop = Loop(
            services, commands, clock=SystemClock(), signals=Signals(), on_view=on_view, **options,  # type: ignore[arg-type]
        )  # fmt: skip
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def stop(self) -> View:
        self.loop.post(Stop())
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.loop.view


def test_a_process_is_started_and_stopped() -> None:
    running = Running({"app": lambda: SLEEPER})
    until(lambda: running.loop.view.child("app").pid, 20)
    pid = running.loop.view.child("app").pid
    assert running.stop().is_over
    assert not os.path.exists(f"/proc/{pid}")


def test_a_bug_while_starting_is_a_failed_start(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def command() -> Command:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("a bug of ours")
        return SLEEPER

    with caplog.at_level(logging.ERROR):
        running = Running({"app": command})
        until(lambda: running.loop.view.child("app").pid, 20)
        running.stop()
    assert len(tries) == 2
    assert "met a bug of its own" in caplog.text


def test_a_bug_in_what_listens_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[View] = []

    def on_view(view: View) -> None:
        seen.append(view)
        if len(seen) == 3:
            raise ValueError("a bug of ours")

    with caplog.at_level(logging.CRITICAL):
        running = Running({"app": lambda: SLEEPER}, on_view=on_view)
        until(lambda: running.loop.view.child("app").pid and len(seen) > 4, 20)
        assert running.stop().is_over


def test_a_program_that_cannot_be_run_is_tried_again_and_again() -> None:
    ended: list[str] = []
    nowhere = Command(("/no/such/program",), dict(os.environ))
    running = Running({"app": lambda: nowhere}, on_exited=lambda _name, why: ended.append(why))
    until(lambda: len(ended) >= 3, 30)
    assert set(ended) == {"it exited with status 127"}
    assert running.stop().is_over
