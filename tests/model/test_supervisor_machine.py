"""The supervisor against a world that starts, kills and delays processes as it likes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from preflight.supervisor import (
    RESUME_LEAST_S,
    RESUMES,
    Exited,
    Hurry,
    Kill,
    Phase,
    Readiness,
    Resume,
    Service,
    Spawn,
    Started,
    Stop,
    Terminate,
    Tick,
    View,
    Waive,
    step,
)

SERVICES = (
    Service("sync", stop_deadline_s=35.0, last_words=frozenset({0, 11})),
    Service("monitor", stop_deadline_s=2.0),
    Service("app", needs=("sync",), stop_deadline_s=10.0),
)
NAMES = st.sampled_from([service.name for service in SERVICES])


class Supervised(RuleBasedStateMachine):
    """`alive` is the truth: which process of which service exists."""

    def __init__(self) -> None:
        super().__init__()
        self.view = View.of(SERVICES)
        self.now_s = 0.0
        self.alive: dict[str, int] = {}
        self.next_pid = 100
        self.opened = False
        self.stopped = False
        self.hurried = False
        self.resumed = 0
        self.asked_s: float | None = None  # when sync was asked to stop, or would have been had it lived
        self.ended: int | None = None  # how sync's last life ended
        self.take(Tick())

    def take(self, event: object) -> None:
        before = self.view
        self.view, actions = step(self.view, event, self.now_s)  # type: ignore[arg-type]
        for action in actions:
            match action:
                case Spawn(name):
                    assert name not in self.alive, "two processes of one service"
                    assert not self.stopped, "a start after the stop"
                    if name == "app":
                        assert self.opened, "the app before the folder"
                    self.start(name)
                case Resume(name, left_s):
                    assert name == "sync", "only sync has last work"
                    assert self.stopped
                    assert not self.alive, "the last save while something may still write"
                    assert self.opened, "nobody could change anything before"
                    assert self.ended not in (0, 11), "it had done everything"
                    assert not self.hurried, "somebody said to skip it"
                    self.asked_s = self.now_s if self.asked_s is None else self.asked_s
                    assert RESUME_LEAST_S <= left_s <= self.asked_s + 35.0 - self.now_s + 1e-6, "the one deadline"
                    self.resumed += 1
                    assert self.resumed <= RESUMES
                    self.start(name)
                case Terminate(name, pid) | Kill(name, pid):
                    assert self.stopped, "a signal without a reason"
                    assert self.alive.get(name) == pid, "a signal to a process that is not ours"
                    if name == "sync":
                        assert "app" not in self.alive, "sync was stopped under the app"
                        self.asked_s = self.now_s if self.asked_s is None else self.asked_s
                    if isinstance(action, Kill):
                        child = before.child(name)
                        assert self.now_s >= child.due_s, "killed before its deadline"

    def start(self, name: str) -> None:
        """Every seventh start fails."""
        self.next_pid += 1
        if self.next_pid % 7 == 0:
            self.died(name, 0, 1)
        else:
            self.alive[name] = self.next_pid
            self.take(Started(name, self.next_pid))

    def died(self, name: str, pid: int, status: int) -> None:
        if name == "sync":
            self.ended = status
        self.take(Exited(name, pid, status, "it ended"))

    @rule(seconds=st.floats(0.0, 100.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.take(Tick())

    @rule(name=NAMES, status=st.sampled_from([0, 1, 3, 11, -9, -15]))
    def a_process_ends(self, name: str, status: int) -> None:
        if name in self.alive:
            self.died(name, self.alive.pop(name), status)

    @rule(seconds=st.floats(0.0, 5.0))
    @precondition(lambda self: self.stopped and "sync" in self.alive)
    def sync_is_killed_in_its_last_work(self, seconds: float) -> None:
        """Seldom hit by chance: a kill soon after it was asked to stop. It is resumed, or there is a reason not to."""
        self.now_s += seconds
        self.take(Tick())
        if "sync" not in self.alive or "app" in self.alive or "monitor" in self.alive:
            return
        assert self.asked_s is not None
        before = self.resumed
        self.died("sync", self.alive.pop("sync"), -9)
        left_s = self.asked_s + 35.0 - self.now_s
        reasons = self.hurried, not self.opened, left_s < RESUME_LEAST_S + 0.1, before == RESUMES
        assert self.resumed > before or any(reasons)

    @rule(name=NAMES, ok=st.booleans())
    def a_service_answers(self, name: str, ok: bool) -> None:
        if name in self.alive:
            self.opened = self.opened or (name == "sync" and ok and not self.stopped)
            self.take(Readiness(name, self.alive[name], ok=ok))

    @rule(name=NAMES)
    def old_news(self, name: str) -> None:
        before = self.view.child(name)
        self.take(Exited(name, 1, 1, "long ago"))
        assert self.view.child(name).pid == before.pid or before.phase is not Phase.RUNNING

    @rule()
    def the_bucket_is_given_up(self) -> None:
        self.opened = True
        self.take(Waive("sync"))

    @rule()
    @precondition(lambda self: self.now_s > 50)
    def stop(self) -> None:
        self.stopped = True
        self.take(Stop())

    @rule()
    @precondition(lambda self: self.stopped)
    def hurry(self) -> None:
        self.hurried = self.hurried or not {"app", "monitor"} & set(self.alive)  # else the app is skipped, not the save
        self.take(Hurry())

    @invariant()
    def the_view_knows_what_lives(self) -> None:
        for service in SERVICES:
            child = self.view.child(service.name)
            lives = child.phase in (Phase.RUNNING, Phase.STOPPING)
            assert lives == (service.name in self.alive)
            if lives:
                assert child.pid == self.alive[service.name]

    @invariant()
    def nothing_is_given_up(self) -> None:
        if not self.stopped:
            for service, child in zip(self.view.services, self.view.children, strict=True):
                assert child.phase is not Phase.EXITED
                if child.phase is Phase.BACKOFF:
                    assert child.due_s - self.now_s <= service.backoff_max_s

    def teardown(self) -> None:
        """However things stand, a stop comes to its end within the sum of the deadlines."""
        self.stopped = True
        self.take(Stop())
        began_s = self.now_s
        for _ in range(200):
            if self.view.is_over:
                break
            self.now_s += 1.0
            for name, child in zip([s.name for s in SERVICES], self.view.children, strict=True):
                if name in self.alive and child.phase is Phase.STOPPING and self.now_s >= child.due_s:
                    self.take(Tick())
                    self.died(name, self.alive.pop(name), -9)
            self.take(Tick())
        assert self.view.is_over
        assert self.now_s - began_s <= sum(service.stop_deadline_s for service in SERVICES) + 5.0
        assert not self.alive


Supervised.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSupervised = Supervised.TestCase
