"""`preflight-sync run`: one process for the whole life of a node. Restore, keep saved, flush on SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from sync import commands
from sync.clock import Clock, SystemClock
from sync.control import ControlServer
from sync.errors import SyncError
from sync.host import Host
from sync.memory import give_back, use_few_arenas
from sync.settings import SyncSettings
from sync.status import State, Status, write_status
from sync.stores import Store
from sync.stores.asking import Asking
from sync.stores.config import StoreConfig
from sync.stores.guarded import Guarded
from sync.stores.opening import open_store
from sync.stores.retry import Retrying

if TYPE_CHECKING:
    from sync.watcher import Watcher

log = logging.getLogger(__name__)

TRIM_AFTER_S = 5.0  # of quiet
POLL_COST = 20
MIRROR_LOOK_S = 0.05  # at the end: how often a mirror is asked whether it is done
POLL_S = 5.0  # between scans where the kernel refuses to watch


class Stop:
    """What the signals asked for: 0 nothing, 1 flush and end, 2 end at once."""

    def __init__(self) -> None:
        self.level = 0
        self.wake: Callable[[], None] = lambda: None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.level += 1
        self.wake()


def open_retrying(config: StoreConfig, clock: Clock) -> Store:
    """The store as the engine uses it: conditions are held, behind the one retry layer."""
    return Retrying(Guarded(open_store(config)), clock=clock)


def host_of(
    settings: SyncSettings, config: StoreConfig, clock: Clock, *, is_mirror: bool = False, asks: bool = True
) -> Host:
    """An engine for one store; if it `asks`, it learns beside its work what the bucket can really do."""
    store = open_retrying(config, clock)
    asking = Asking(config, store, clock) if asks else None
    return Host(settings, store, clock, is_mirror=is_mirror, asking=asking)


def run_child(settings: SyncSettings, *, once: bool = False, timeout_s: float = float("inf")) -> int:
    """Live until SIGTERM (`once`: until all is saved, for `timeout_s` at most); returns the exit code."""
    use_few_arenas()
    clock = SystemClock()
    stop = Stop()
    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)}
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    (settings.state_dir / "sync").mkdir(parents=True, exist_ok=True)
    try:
        if not settings.stores:
            return _without_store(settings, clock, stop, once=once)
        return Child(settings, clock, stop, once=once).live(once=once, timeout_s=timeout_s)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_store(settings: SyncSettings, clock: Clock, stop: Stop, *, once: bool) -> int:
    woken = threading.Event()
    stop.wake = woken.set
    why = "no bucket is configured: nothing is saved"
    while True:
        status = Status(
            state=State.FAILED,
            why=why,
            hint="set AWS_S3_BUCKET_FOLDER or another bucket variable",
            pid=os.getpid(),
            updated_at=clock.now(),
        )
        write_status(settings.state_dir, status)
        if once or stop.level:
            return 2 if once else 0
        woken.wait(10.0)


class Child:
    """The running process: engines, watcher, control socket."""

    def __init__(self, settings: SyncSettings, clock: Clock, stop: Stop, *, once: bool = False) -> None:
        self._settings = settings
        self._clock = clock
        self._stop = stop
        # A command would end before its twenty questions are answered, or wait for them (docs/decisions/0103).
        self._primary = host_of(settings, settings.stores[0], clock, asks=not once)
        self._mirrors: list[Mirror] = []
        self._watcher: Watcher | None = None  # one-shot commands have none, and its library takes long to import
        self._is_watching = False
        self._missed = False
        self._folders = 0
        self._trim_s: float | None = None  # when free memory goes back to the system
        self._is_polling = False
        self._next_check_s = 0.0
        stop.wake = self._primary.engine.wake

    def _mark(self, folder: str, closed: str) -> None:
        self._primary.engine.mark(folder, closed)
        for mirror in self._mirrors:
            mirror.host.engine.mark(folder, closed)

    def _lost(self) -> None:
        self._missed = True
        self._primary.engine.wake()

    def _is_done(self, once: bool, deadline_s: float) -> bool:
        """Whether the time has come to flush and end."""
        engine = self._primary.engine
        if self._stop.level or not once:
            return self._stop.level > 0
        is_held = engine.held is not None and not (engine.agenda.pending or engine.busy)
        return engine.is_idle() or engine.lease.is_lost or is_held or self._clock.monotonic() > deadline_s

    def live(self, *, once: bool, timeout_s: float = float("inf")) -> int:
        """The whole life."""
        primary = self._primary
        deadline_s = self._clock.monotonic() + timeout_s
        server = ControlServer(self._settings.state_dir, self._answer)
        server.start()
        primary.mirrors = lambda: tuple(m.host.line for m in self._mirrors)
        primary.start()
        primary.publish()
        try:
            while not self._is_done(once, deadline_s):
                # The turn that ends the restore does not wait: until the watches are set nothing would wake it.
                primary.turn(lambda: self._is_done(once, deadline_s) or self._must_begin_to_watch(once))
                if not once:
                    self._look_after_watcher()
                self._look_after_memory()
                if primary.engine.restored and not self._mirrors and len(self._settings.stores) > 1:
                    self._start_mirrors()
            return self._flush(once=once)
        finally:
            server.stop()
            if self._watcher is not None:
                self._watcher.stop()
            for mirror in self._mirrors:
                mirror.end()
            primary.stop()

    def _look_after_memory(self) -> None:
        """Once after each piece of work, when it has been quiet for a while."""
        if not self._primary.engine.is_idle():
            self._trim_s = self._clock.monotonic() + TRIM_AFTER_S
        elif self._trim_s is not None and self._clock.monotonic() >= self._trim_s:
            self._trim_s = None
            give_back()

    def _must_begin_to_watch(self, once: bool) -> bool:
        return self._primary.engine.restored and not self._is_watching and not once

    def _look_after_watcher(self) -> None:
        now_s = self._clock.monotonic()
        if not self._primary.engine.restored:
            return  # a walk follows the restore, whose own files would ring the bell all the time
        if self._watcher is None:
            from sync.watcher import Watcher

            self._watcher = Watcher(self._settings.data_dir, self._mark, self._lost)
            self._is_watching = True
            self._watcher.start()
            self._rescan_all()  # what came between the end of the restore and the first watch
        if self._missed:
            self._missed = False
            self._rescan_all()
        if now_s < self._next_check_s:
            return
        self._next_check_s = now_s + POLL_S
        engine = self._primary.engine
        if not self._watcher.is_alive():
            self._watcher.restart()
            self._rescan_all()  # what happened meanwhile is unknown; without watches this is the polling
            return
        folders = engine.scanner.folders()
        if len(folders) != self._folders or self._is_polling:
            self._folders = len(folders)
            was, self._is_polling = self._is_polling, self._watcher.unwatched(folders)
            if self._is_polling:
                if not was:
                    log.warning("The kernel refuses more watches; the folder is scanned every few seconds instead")
                self._rescan_all()
            # A walk of a large tree costs more: it may take a twentieth of the time.
            self._next_check_s = now_s + max(POLL_S, POLL_COST * engine.walk_cost_s)

    def _rescan_all(self) -> None:
        for engine in [self._primary.engine, *(m.host.engine for m in self._mirrors)]:
            engine.wants_walk = True
            engine.wake()

    def _start_mirrors(self) -> None:
        for config in self._settings.stores[1:]:
            mirror = Mirror(self._settings, config, self._clock)
            mirror.host.on_news = self._primary.engine.wake
            self._mirrors.append(mirror)
            mirror.start()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = commands.answer(self._primary, request, self._clock)
        for mirror in self._mirrors if request.get("cmd") == "dirty" else ():
            commands.dirty(mirror.host, request, self._clock)
        return answer

    def _flush(self, *, once: bool) -> int:
        """Save what is left within the deadline, name what is not, let the lease go; then mirrors may catch up."""
        primary, engine = self._primary, self._primary.engine
        deadline_s = self._clock.monotonic() + self._settings.flush_timeout_s
        is_settled = False
        if engine.restored and not engine.lease.is_lost:
            engine.is_stopping = True
            engine.is_hurried = True
            if not once:
                engine.rescan()
            engine.agenda.hurry(self._clock.monotonic())
            for mirror in self._mirrors:
                mirror.hurry()
            while self._stop.level < 2 and self._clock.monotonic() < deadline_s:
                if engine.is_idle():
                    is_settled = True
                    break
                if engine.held is not None and not (engine.agenda.pending or engine.busy):
                    break
                primary.turn(lambda: self._stop.level > 1 or engine.is_idle())
                engine.agenda.hurry(self._clock.monotonic())
        code = self._end(is_settled=is_settled)
        self._wait_for_mirrors(deadline_s)
        return code

    def _wait_for_mirrors(self, deadline_s: float) -> None:
        """While they get on. The first store's answer is the exit code; what a mirror lacks is told, and costs nothing.

        The next node's mirror compares the whole folder and sends it then.
        """
        if not self._mirrors:
            return
        while self._stop.level < 2 and self._clock.monotonic() < deadline_s:
            if not any(mirror.is_moving() for mirror in self._mirrors):
                break
            self._clock.sleep(MIRROR_LOOK_S)
        for mirror in self._mirrors:
            mirror.rest()
            if not mirror.host.engine.is_idle():
                log.warning("A mirror lacks the last changes", extra=mirror.host.line)
        write_status(self._settings.state_dir, self._primary.status())

    def _end(self, *, is_settled: bool) -> int:
        """Let the lease go and say how it ended. Alarms that ring from here on are late, not unsaved."""
        engine = self._primary.engine
        unsaved = [p for p in engine.agenda.pending if not p.endswith("/")]
        if engine.lease.epoch and not engine.lease.is_lost and self._stop.level < 2:
            try:
                engine.lease.renew(unsaved, len(unsaved), released=True)
            except SyncError as error:
                log.warning("The lease could not be released", extra={"error": str(error)})
        engine.is_stopping = False  # the last word is what is saved and what is not
        write_status(self._settings.state_dir, self._primary.status())
        if unsaved:
            log.error("Not everything could be saved", extra={"files": len(unsaved), "first": unsaved[:20]})
        if engine.lease.is_lost:
            return 11
        if engine.held is not None:
            return 20
        return 0 if is_settled and not unsaved else 3


class Mirror:
    """A push-only store: an engine of its own in a thread of its own."""

    def __init__(self, settings: SyncSettings, config: StoreConfig, clock: Clock) -> None:
        self.host = host_of(settings, config, clock, is_mirror=True)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._live, name="sync-mirror", daemon=True)

    def start(self) -> None:
        """Begin to follow the folder."""
        self.host.start()
        self._thread.start()

    def _live(self) -> None:
        while not self._ending.is_set():
            self.host.turn()

    def hurry(self) -> None:
        """A flush began."""
        self.host.engine.is_hurried = True
        self.host.engine.wants_walk = True  # and until it has looked, it is not idle
        self.host.engine.wake()

    def is_moving(self) -> bool:
        """Whether it still has something to send and a store that takes it."""
        return not self.host.engine.is_idle() and not self.host.engine.is_offline()

    def rest(self) -> None:
        """Stop following; what it has reached is in `host.line`."""
        self._ending.set()
        self.host.engine.wake()
        self._thread.join(timeout=2.0)

    def end(self) -> None:
        """Stop following and close everything."""
        self.rest()
        self.host.stop()
