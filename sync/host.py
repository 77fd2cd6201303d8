"""One engine on the real machine: its store, journal, workers and the thread that turns it."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sync.clock import Clock
from sync.crew import FIRST, Bandwidth, Crew, side_by_side
from sync.disk import DiskFiles
from sync.engine import Engine
from sync.intents import Intents
from sync.lease import Lease
from sync.limits import Limits
from sync.names import is_ours
from sync.parking import parked
from sync.plan import Guard
from sync.report import state_of, status_of
from sync.settings import SyncSettings, machine_name
from sync.state import Journal
from sync.status import State, Status, write_status
from sync.stores import Store
from sync.stores.asking import Asking
from sync.stores.guarded import Guarded
from sync.stores.retry import Retrying
from sync.work import Noted, World

log = logging.getLogger(__name__)

PARTS_AT_ONCE = 4  # of one large file
HEAVY_AT_ONCE = 16  # bodies that weigh in memory, 8 MiB at most
STATUS_EVERY_S = 10.0
STATUS_SOON_S = 0.5
TOGETHER_S = 0.005  # answers to a bulk transfer are taken together: a turn for each would cost more than the transfer

Command = Callable[[Engine], dict[str, Any] | None]  # asked every turn until it has an answer


def journal_path(state_dir: Path, url: str) -> Path:
    """Each store has a journal of its own."""
    return state_dir / "sync" / f"journal-{hashlib.sha256(url.encode()).hexdigest()[:12]}.sqlite"


def boot_of(proc: Path = Path("/proc")) -> str:
    """Which start of the kernel this is: after another one, files that were not made durable may be empty.

    Sandboxes that have no boot id tell at least when they were started; "" where nothing tells.
    """
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        pass
    try:
        lines = (proc / "stat").read_text().splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in lines if line.startswith("btime ")), "")


class Host:
    """Builds an engine and turns it until told to stop."""

    def __init__(
        self,
        settings: SyncSettings,
        store: Store,
        clock: Clock,
        *,
        is_mirror: bool = False,
        asking: Asking | None = None,
    ) -> None:
        self._asking = asking
        self._settings = settings
        self._clock = clock
        self._is_mirror = is_mirror
        self._event = threading.Event()
        self._commands: deque[Command] = deque()
        machine = machine_name(settings)
        files = DiskFiles(settings.data_dir, clock)
        journal_at = journal_path(settings.state_dir, store.url)
        journal, intents = Journal.at(journal_at), Intents(journal_at.with_suffix(".intents"))
        lease = Lease(store, clock, machine, secrets.token_hex(16))
        if isinstance(store, Retrying):
            store.permit = may_write = lambda key: None if is_ours(key) else lease.permit()
            if isinstance(store.inner, Guarded):
                store.inner.permit = may_write
        limit = settings.bandwidth_bytes_per_s
        spend = Bandwidth(clock, limit).spend if limit else (lambda size: None)
        parts = side_by_side(PARTS_AT_ONCE)
        note = self._note
        world = World(
            files=files,
            store=store,
            clock=clock,
            machine=machine,
            permit=lease.permit,
            confirm=lease.check,
            spend=spend,
            side_by_side=parts,
            note_upload=note,
            intend=intents.add,
            heavy=threading.BoundedSemaphore(HEAVY_AT_ONCE),
            born_at=clock.now(),
            keeps_copies_here=not is_mirror,
        )
        self._crew = Crew(settings.workers, self._post, clock)
        limits = Limits(
            workers=settings.workers,
            guard=Guard(settings.guard_files, settings.guard_ratio),
            guard_release_s=settings.guard_release_s,
            is_mirror=is_mirror,
            trash_keep_s=settings.trash_keep_s,
        )
        self.engine = Engine(
            files=files,
            store=store,
            journal=journal,
            clock=clock,
            lease=lease,
            intents=intents,
            world=world,
            parking=parked(world),
            submit=self._crew.submit,
            limits=limits,
            boot=boot_of(),
            new_id=lambda: secrets.token_hex(16),
            wake=self._event.set,
        )
        self._written: tuple[tuple[str, ...], float] = ((), -1e9)
        self.mirrors: Callable[[], tuple[dict[str, object], ...]] = lambda: ()
        # Of a mirror: made by the thread that turns it, because nobody else may look into a moving engine.
        self.line: dict[str, object] = {"store": store.url, "state": "starting", "why": "", "pending_files": 0}
        self.on_news: Callable[[], None] = lambda: None

    def _post(self, outcome: Any) -> None:
        self.engine.post(outcome)

    def _note(self, path: str, note: str | None) -> None:
        self.engine.post(Noted(path, note))

    def start(self) -> None:
        """Start the workers, and the question what the bucket can do."""
        self._crew.start()
        if self._asking is not None:
            self._asking.start()

    def ask(self, command: Command, timeout_s: float) -> dict[str, Any] | None:
        """Run `command` in the control thread until it answers; None after `timeout_s`. From any other thread."""
        answered = threading.Event()
        box: list[dict[str, Any]] = []

        def once(engine: Engine) -> dict[str, Any] | None:
            if answered.is_set():
                return {}
            answer = command(engine)
            if answer is not None:
                box.append(answer)
                answered.set()
            return answer

        self._commands.append(once)
        self._event.set()
        answered.wait(timeout_s)
        answered.set()
        return box[0] if box else None

    def turn(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """One turn; publish what it changed; then wait until something happens, unless `is_over`."""
        self._event.clear()
        wait_s = self.engine.turn()
        for _ in range(len(self._commands)):
            command = self._commands.popleft()
            if command(self.engine) is None:
                self._commands.append(command)
                wait_s = min(wait_s, 0.05)
        self.publish()  # before the wait: what was just reached must be known now, not in ten seconds
        if wait_s > 0 and not is_over():
            self._event.wait(min(wait_s, STATUS_EVERY_S))
            if len(self.engine.busy) > 2 * min(FIRST, self._settings.workers):
                self._clock.sleep(TOGETHER_S)

    def publish(self) -> None:
        """Write the status when it changed or grew old; a mirror's is a line in the primary's."""
        state, why, _ = state_of(self.engine)
        if self._is_mirror:
            self._tell_line(state.value, why)
            return
        told = (state, *(str(line["state"]) for line in self.mirrors()))
        last, at_s = self._written
        age_s = self._clock.monotonic() - at_s
        is_moving = state in (State.SAVING, State.RESTORING, State.STOPPING, State.STARTING)
        if told == last and age_s < (STATUS_SOON_S if is_moving else STATUS_EVERY_S):
            return
        self._written = (told, self._clock.monotonic())
        try:
            write_status(self._settings.state_dir, self.status())
        except OSError as error:  # a full disk: the document grows stale and says so; saving goes on
            log.warning("The status cannot be written", extra={"error": str(error)})

    def _tell_line(self, state: str, why: str) -> None:
        is_news = state != self.line["state"]
        self.line = {
            "store": self.engine.store.url,
            "state": state,
            "why": why,
            "pending_files": len(self.engine.agenda.pending),
        }
        if is_news:
            self.on_news()

    def status(self) -> Status:
        """The present status."""
        status = status_of(self.engine, mirrors=self.mirrors())
        if self._asking is None:
            return status
        return replace(status, capability={**status.capability, **self._asking.told()})

    def stop(self) -> None:
        """End the workers and close what is open."""
        if self._asking is not None:
            self._asking.stop()
        self._crew.stop(timeout_s=2.0)
        self.engine.journal.close()
        self.engine.intents.close()
        self.engine.store.close()
