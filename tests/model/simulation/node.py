"""A machine with a disk, and one life of the sync process on it: the real engine, put together from simulated parts."""

from __future__ import annotations

import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sync.crew import ABREAST
from sync.engine import Engine
from sync.files import Files
from sync.intents import Intents
from sync.lease import Lease
from sync.limits import Limits
from sync.names import is_ours
from sync.parking import parked
from sync.plan import Guard
from sync.stores import Store
from sync.stores.guarded import Guarded
from sync.stores.retry import Patience, Retrying
from sync.work import Noted, Outcome, Several
from sync.work import World as Reach
from tests.model.simulation.bucket import Bucket
from tests.model.simulation.disk import Disk
from tests.model.simulation.faults import Network
from tests.model.simulation.gated_journal import GatedJournal, KeptIntents
from tests.model.simulation.memory_files import FOLDER, MemoryFiles
from tests.model.simulation.memory_store import MemoryStore
from tests.model.simulation.world import EPOCH_S, GATE_S, Crash, Fiber, World

GATES_BETWEEN = 40  # about so many operations pass between two moments at which somebody else acts
WORKERS = 3
SPINS = 1000  # a turn takes about a millisecond for real


class Plain:
    """The parts that a life is put together from, as they are. A seeded bug replaces one of them."""

    favours: tuple[str, ...] = ()  # disasters that happen more often

    def wire(self, store: Store) -> Store:
        """The store below the retry layer."""
        return store

    def store(self, store: Store) -> Store:
        """The store as the engine sees it."""
        return store

    def files(self, files: Files) -> Files:
        """The folder as the engine sees it."""
        return files

    def lease(self, store: Store, life: Life, machine: str, instance: str) -> Lease:
        """This life's claim."""
        return Lease(store, life, machine, instance)

    def intents(self, intents: Intents) -> Intents:
        """What is noted of a write before it is sent."""
        return intents

    def permit(self, lease: Lease) -> Callable[[], None]:
        """What is asked before each write."""
        return lease.permit

    def engine(self, **parts: Any) -> Engine:
        """The engine itself."""
        return Engine(**parts)

    def overflow(self, engine: Engine) -> None:
        """The watcher says that it lost events."""
        engine.rescan()
        engine.wake()


class Node:
    """A machine: what survives when its process dies."""

    def __init__(self, world: World, name: str, states: set[tuple[str, bytes]]) -> None:
        self.world = world
        self.name = name
        self.machine = name.split("/")[0]
        self.skew_s = 0.0
        self.boots = 1
        self.disk = Disk(self.wall_ns, states)
        self.disk.mkdir(FOLDER)
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.intents = bytearray()
        self.snapshots: list[bytes] = []  # of the database: a power cut may bring one of them back
        self.grace_until_s: float | None = None
        self.sent_at_s = 0.0
        self.looked: dict[str, float] = {}  # key -> when the server last told this machine what lies there
        self.life: Life | None = None
        self.deaf_until_s = -1.0

    def is_hurried(self) -> bool:
        """Whether somebody asked for everything to be saved at once (a request may be on its way for a second)."""
        return self.life is not None and self.world.now_s <= self.life.hurried_until_s + 1.0

    def is_deaf(self) -> bool:
        """Whether the watcher missed something that only the next audit can tell."""
        return self.world.now_s < self.deaf_until_s + 120

    def overflows(self) -> bool:
        """Whether events are being lost right now, before anybody can know."""
        return self.life is not None and self.world.now_s <= self.life.overflow_until_s

    def wall_ns(self) -> int:
        """This machine's idea of the time."""
        return self.world.clock_ns() + int(self.skew_s * 1e9)

    def lose_journal(self) -> None:
        """The state folder is gone."""
        self.intents.clear()
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.snapshots.clear()

    def cut_power(self, rng: random.Random) -> None:
        """What was not made durable may be gone: of the folder, and the newest commits of the journal."""
        self.boots += 1
        del self.intents[rng.randint(0, len(self.intents)) :]
        loses_names = rng.random() < 0.3
        self.disk.cut_power(rng, loses_names=loses_names)
        if loses_names:
            self.lose_journal()
        elif self.snapshots and rng.random() < 0.5:
            self.database = sqlite3.connect(":memory:", check_same_thread=False)
            self.database.deserialize(self.snapshots[-1])


class Life:
    """One process on a node. An `Actor`: every operation of its threads passes `gate`."""

    def __init__(
        self,
        node: Node,
        bucket: Bucket,
        network: Network,
        number: int,
        *,
        parts: Plain | None = None,
        profile: dict[str, Any] | None = None,
    ) -> None:
        self.node = node
        self.world = node.world
        self.name = node.name
        self.bucket = bucket
        self.network = network
        self.number = number
        self.parts = parts or Plain()
        self.profile = profile or {}
        self.is_dead = False
        self.paused_until_s = 0.0
        self.overflow_until_s = -1.0
        self._has_overflown = False
        self.journal_checked = self.saved_checked = (-1, -1, -1)  # how far the world was when the laws last looked
        self.crash_in: int | None = None  # operations from now
        self._ambush: tuple[str, int, Callable[[], None]] | None = None
        self.hurried_until_s = -1.0
        self.on_turn: Callable[[], None] = lambda: None
        self.rng = random.Random(f"{self.world.seed}/{node.name}/{number}")
        self._gates_left = self.rng.randint(1, GATES_BETWEEN)
        self._jobs: deque[Callable[[], Outcome]] = deque()
        self._rings = self._ring
        self.files = MemoryFiles(node.disk, self, node.wall_ns)
        folder = self.parts.files(self.files)
        self.inner = MemoryStore(bucket, self, network, epoch_s=EPOCH_S, **self.profile)
        guarded = Guarded(self.parts.wire(self.inner))
        retrying = Retrying(guarded, patience=Patience(attempts=3), clock=self, rng=self.rng)
        retrying.pace = FreePace()  # type: ignore[assignment]
        store = self.parts.store(retrying)
        self.journal = GatedJournal(node.database, self)
        self.intents = self.parts.intents(KeptIntents(node))
        self.lease = self.parts.lease(store, self, node.machine, f"{node.name}:{number}")
        may_write = self.parts.permit(self.lease)
        guarded.permit = retrying.permit = lambda key: None if is_ours(key) else may_write()
        reach = Reach(
            files=folder,
            store=store,
            clock=self,
            machine=node.machine,
            permit=may_write,
            born_at=self.now(),
            intend=self.intents.add,
            note_upload=lambda path, note: self.engine.post(Noted(path, note)),
        )
        self.engine = self.parts.engine(
            files=folder,
            store=store,
            journal=self.journal,
            clock=self,
            lease=self.lease,
            intents=self.intents,
            world=reach,
            parking=replace(parked(reach), keeps_copies_here=False),
            submit=self._submit,
            limits=Limits(workers=WORKERS, guard=Guard(files=12, ratio=0.5)),
            new_id=lambda: f"folder-{node.name}-{number}-{self.rng.randrange(10**6)}",
            wake=self._wake,
            boot=f"boot {node.boots}",
        )
        self._control = Fiber(self.world, f"{self.name} control", self._run)
        self._workers = [Fiber(self.world, f"{self.name} worker {n}", self._work) for n in range(WORKERS)]
        self._idle: deque[Fiber] = deque()

    # -- the process

    def begin(self) -> None:
        """Start it."""
        self.node.life = self
        self.node.disk.bells.append(self._rings)
        self._control.start()
        for worker in self._workers:
            worker.start()

    def die(self) -> None:
        """SIGKILL: nothing of it happens any more; a transaction that was open is not."""
        if self.is_dead:
            return
        self.is_dead = True
        for fiber in (self._control, *self._workers):
            fiber.kill()
        if self.node.database.in_transaction:
            self.node.database.execute("ROLLBACK")
        if self._rings in self.node.disk.bells:
            self.node.disk.bells.remove(self._rings)
        if self.node.life is self:
            self.node.life = None

    def error(self) -> BaseException | None:
        """What ended a thread of it that should not have ended."""
        return next((f.error for f in (self._control, *self._workers) if f.error is not None), None)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.paused_until_s = max(self.paused_until_s, self.world.now_s + seconds)

    def unpause(self) -> None:
        """SIGCONT now."""
        self.paused_until_s = self.world.now_s
        for fiber in (self._control, *self._workers):
            if fiber not in self._idle:
                fiber.wake()

    def ambush(self, label: str, times: int, what: Callable[[], None]) -> None:
        """Somebody else does `what` right before the process does `label` for the n-th time."""
        self._ambush = (label, times, what)

    def flush(self, seconds: float) -> None:
        """A person asks for everything to be saved now."""
        self.hurried_until_s = self.world.now_s + seconds
        self.engine.wants_walk = True
        self._wake()

    def overflow(self, seconds: float) -> None:
        """The queue of events is full for a while; the watcher notices and says so afterwards."""
        self.overflow_until_s = self.world.now_s + seconds
        self.world.at(self.overflow_until_s, self._end_overflow)

    def _end_overflow(self) -> None:
        if self._has_overflown and not self.is_dead:
            self._has_overflown = False
            self.parts.overflow(self.engine)

    def _run(self) -> None:
        second, turns = 0, 0
        while True:
            wait_s = self.engine.turn()
            if self.world.now_s < self.hurried_until_s:
                self.engine.agenda.hurry(self.world.now_s)
                wait_s = min(wait_s, 0.001)
            self.on_turn()
            if int(self.world.now_s) != second:
                second, turns = int(self.world.now_s), 0
            turns += 1
            if turns > SPINS:
                raise RuntimeError(f"{SPINS} turns in a second: the control thread spins")
            self._here().park_until(self.world.now_s + min(max(wait_s, GATE_S), 30.0))
            self._stop_here_if_paused()

    def _submit(self, path: str, job: Callable[[], Outcome]) -> None:
        del path
        self._jobs.append(job)
        if self._idle:
            self._idle.popleft().wake()

    def _work(self) -> None:
        while True:
            while self._jobs:
                for outcome in self._outcomes(self._jobs.popleft()):
                    self.gate("outcome")
                    self.engine.post(outcome)
            self._idle.append(self._here())
            self._here().park()

    def _outcomes(self, job: Callable[[], Outcome]) -> Iterator[Outcome]:
        """Of one job, or of it and the next ones where they can be done in one go, as the crew does them."""
        if not isinstance(job, Several):
            yield job()
            return
        others: list[Several[Any]] = []
        while self._jobs and len(others) < ABREAST - 1 and job.is_like(self._jobs[0]):
            others.append(self._jobs.popleft())  # type: ignore[arg-type]
        for _, outcome in job.together(others):
            yield outcome

    def _wake(self) -> None:
        if self.world.current is not self._control:
            self._control.wake()

    def _ring(self, kind: str, path: str) -> None:
        """As inotify with the mask that the engine uses."""
        if self.world.now_s < self.node.deaf_until_s:
            return
        if self.world.now_s < self.overflow_until_s:
            self._has_overflown = True
            return
        if not path.startswith(f"{FOLDER}/") or path.startswith(f"{FOLDER}/.preflight"):
            return
        inner = path[len(FOLDER) + 1 :]
        if kind in ("closed", "created", "moved", "deleted"):
            is_folder = self.node.disk.exists(path) and self.node.disk.find(path).is_dir
            is_closed = kind == "closed" or (kind == "moved" and self.node.disk.exists(path) and not is_folder)
            self.engine.mark(inner.rpartition("/")[0], inner if is_closed else "")
            if kind == "created" and is_folder:
                self.engine.mark(inner, "")

    # -- Actor

    @property
    def looked(self) -> dict[str, float]:
        return self.node.looked

    @property
    def sent_at_s(self) -> float:
        return self.node.sent_at_s

    @sent_at_s.setter
    def sent_at_s(self, value: float) -> None:
        self.node.sent_at_s = value

    def gate(self, label: str) -> None:
        if self.is_dead:
            raise Crash
        self.world.note(f"{self.name} {label}")
        self.world.now_s += GATE_S
        if self._ambush is not None and self._ambush[0] == label:
            label, times, what = self._ambush
            self._ambush = (label, times - 1, what) if times > 1 else None
            if times == 1:
                what()
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.world.note(f"{self.name} crashes")
                self.world.at(self.world.now_s, self.die)
                self._here().park()
        self._gates_left -= 1
        if self._gates_left <= 0:
            self._gates_left = self.rng.randint(1, GATES_BETWEEN)
            self._here().park_until(self.world.now_s + self.rng.choice((0.0, 0.001, 0.05)))
        self._stop_here_if_paused()

    def spend(self, seconds: float) -> None:
        if self.is_dead:
            raise Crash
        self._here().park_until(self.world.now_s + seconds)
        self._stop_here_if_paused()

    def now_s(self) -> float:
        return self.world.now_s

    def later(self, after_s: float, what: Callable[[], None]) -> None:
        self.world.at(self.world.now_s + after_s, what)

    def body(self, path: Path) -> bytes:
        return self.files.body(str(path))

    # -- Clock

    def now(self) -> float:
        return EPOCH_S + self.world.now_s + self.node.skew_s

    def monotonic(self) -> float:
        return self.world.now_s

    def sleep(self, seconds: float) -> None:
        self.spend(seconds)

    def _here(self) -> Fiber:
        assert self.world.current is not None
        return self.world.current

    def _stop_here_if_paused(self) -> None:
        while self.paused_until_s > self.world.now_s:
            self._here().park_until(self.paused_until_s)


class FreePace:
    """Nobody waits for a place (a fiber must not wait on a real lock); of several, five set out at once."""

    window = 32.0

    def enter(self, most: int = 1) -> int:
        return min(most, 5)

    def leave(self, *, throttled: bool) -> None: ...
