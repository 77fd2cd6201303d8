"""The supervisor's loop: what happened goes into the pure `step`, what it asks for is done here.

One thread (the main one) owns all children. Signals, exits and readiness arrive as events on one queue, so the
loop sleeps until something happens or a second passed.
"""

from __future__ import annotations

import logging
import queue
import signal
import subprocess
from collections.abc import Callable, Mapping
from types import FrameType

from preflight import processes, tether
from preflight.processes import Command
from preflight.supervisor import (
    Action,
    Event,
    Exited,
    Hurry,
    Kill,
    Phase,
    Resume,
    Service,
    Spawn,
    Started,
    Stop,
    Terminate,
    Tick,
    View,
    step,
)
from sync.clock import Clock

log = logging.getLogger(__name__)
TICK_S = 1.0
ORPHANS_EVERY_S = 5.0


class Signals:
    """SIGTERM and SIGINT as a count, from the first second on; `on_change` wakes whoever waits."""

    def __init__(self) -> None:
        self.count = 0
        self.on_change: Callable[[], None] = lambda: None

    def install(self) -> None:
        """Must be called in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: self.on_change())

    def ask_to_stop(self) -> None:
        """As if SIGTERM had come (from any thread)."""
        self.count += 1
        self.on_change()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.on_change()


class Loop:
    """Runs services until it is told to stop and all of them are gone."""

    def __init__(
        self,
        services: tuple[Service, ...],
        commands: Mapping[str, Callable[[], Command]],
        *,
        clock: Clock,
        signals: Signals,
        on_view: Callable[[View], None],
        on_started: Callable[[str, subprocess.Popen[bytes]], None] = lambda _name, _process: None,
        on_exited: Callable[[str, str], None] = lambda _name, _why: None,
        resume: Callable[[str, float], Command] | None = None,
    ) -> None:
        self._commands = commands
        self._resume = resume
        self._clock = clock
        self._signals = signals
        self._on_view = on_view
        self._on_started = on_started
        self._on_exited = on_exited
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._processes: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        self._signals_seen = 0
        self._orphans_due_s = 0.0
        self.view = View.of(services)

    def post(self, event: Event) -> None:
        """Hand in what another thread saw."""
        self._events.put(event)

    def run(self) -> View:
        """Returns when everything has stopped. Never raises for anything that a child does."""
        tether.prctl(tether.PR_SET_CHILD_SUBREAPER, 1)
        self._signals.on_change = lambda: self._events.put(None)  # SimpleQueue.put is safe in a signal handler
        self._events.put(None)  # the first turn does not wait
        while not self.view.is_over:
            try:
                event = self._next()
                self._take_signals()
                self._bury()
                self._take(event or Tick())
            except Exception:  # the named place: a bug of ours must not cost the user the notebook
                log.exception("the supervisor met a bug of its own and goes on")
                self._clock.sleep(TICK_S)
                self._forget_half_starts()
        self._signals.on_change = lambda: None
        return self.view

    def _forget_half_starts(self) -> None:
        """A start that a bug of ours cut short is a failed start: it is tried again."""
        now_s = self._clock.monotonic()
        for service, child in zip(self.view.services, self.view.children, strict=True):
            if child.phase is Phase.STARTING:
                failed = Exited(service.name, 0, 1, "it could not be started: a bug of ours, see the log")
                self.view, _ = step(self.view, failed, now_s)

    def _next(self) -> Event | None:
        try:
            return self._events.get(timeout=min(TICK_S, self.view.due_in_s(self._clock.monotonic()) + 0.001))
        except queue.Empty:
            return Tick()

    def _take_signals(self) -> None:
        while self._signals_seen < self._signals.count:
            self._signals_seen += 1
            first = not self.view.stopping
            log.info("asked to stop" if first else "asked again: skipping what is being waited for")
            self._take(Stop() if first else Hurry())

    def _bury(self) -> None:
        now_s = self._clock.monotonic()
        if now_s >= self._orphans_due_s:
            self._orphans_due_s = now_s + ORPHANS_EVERY_S
            processes.bury_orphans(frozenset(self._processes))
        for pid, status in processes.reap(frozenset(self._processes)).items():
            name, process = self._processes.pop(pid)
            process.returncode = status  # so that Popen does not wait for a pid that may be somebody else's by now
            why = processes.describe(status)
            expected = self.view.stopping
            log.log(
                logging.INFO if expected else logging.WARNING, "a service ended", extra={"service": name, "why": why}
            )
            self._on_exited(name, why)
            self._take(Exited(name, pid, status, why))

    def _take(self, event: Event) -> None:
        self.view, actions = step(self.view, event, self._clock.monotonic())
        self._on_view(self.view)
        for action in actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Spawn(name):
                self._spawn(name, self._commands[name])
            case Resume(name, left_s):
                log.warning(
                    "its last work was cut short and is resumed", extra={"service": name, "left_s": round(left_s)}
                )
                resume = self._resume
                self._spawn(name, self._commands[name] if resume is None else lambda: resume(name, left_s))
            case Terminate(name, pid):
                log.info("stopping a service", extra={"service": name})
                processes.terminate(pid)
            case Kill(name, pid):
                log.warning("a service did not stop in time and is killed", extra={"service": name})
                processes.kill_group(pid)

    def _spawn(self, name: str, command: Callable[[], Command]) -> None:
        try:
            process = processes.spawn(command())
        except OSError as failed:
            self._take(Exited(name, 0, 1, f"it could not be started: {failed.strerror or failed}"))
            return
        self._processes[process.pid] = (name, process)
        again = self.view.child(name).restarts
        log.info("a service started", extra={"service": name, "child_pid": process.pid, "restarts": again})
        self._take(Started(name, process.pid))
        self._on_started(name, process)
