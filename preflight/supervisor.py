"""What to do about our child processes, as a pure function of what happened: no clock, no process, no thread.

`step(view, event, now_s)` returns the next view and the actions to take; `loop.py` performs them. Services start in
the order given and stop in the reverse order, each only after the one before it is gone (JupyterLab, then sync's
flush). A service that dies is started again, ever more slowly, for ever: a crash loop is shown, never an exit code.
One whose last work must be done (sync: save what is left) is resumed when it dies in it, within the same deadline.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace


class Phase(enum.StrEnum):
    """Where one child is."""

    WAITING = "waiting"  # for what it needs
    STARTING = "starting"  # Spawn was asked for; its outcome is not known yet
    RUNNING = "running"
    BACKOFF = "backoff"  # it died and is started again later
    STOPPING = "stopping"
    EXITED = "exited"  # stopped on purpose, or finished (a batch worker)


@dataclass(frozen=True, slots=True)
class Service:
    """One child and how it is kept alive. All durations in seconds."""

    name: str
    needs: tuple[str, ...] = ()  # services that must have been ready once before this one starts
    backoff_s: float = 0.5  # before the first restart; doubles with each death in a row
    backoff_max_s: float = 60.0
    settled_after_s: float = 60.0  # a life this long is no longer "in a row"
    crash_loop_at: int = 5  # deaths in a row from which the node is called degraded
    stop_deadline_s: float = 10.0  # from SIGTERM to SIGKILL
    may_finish: bool = False  # exit status 0 is the end of its work, not a death
    last_words: frozenset[int] = frozenset()  # exit statuses that end its last work; {}: it has none to be resumed


@dataclass(frozen=True, slots=True)
class Child:
    """The state of one service."""

    phase: Phase = Phase.WAITING
    pid: int = 0
    since_s: float = 0.0  # start of this phase
    deaths: int = 0  # in a row
    restarts: int = 0  # ever
    due_s: float = 0.0  # BACKOFF: next start; STOPPING: SIGKILL
    ends_s: float = 0.0  # of the time that its stop may take; 0 until it was asked to stop
    resumes: int = 0  # of its last work
    status: int | None = None  # exit status of its last life
    ready: bool = False
    was_ready: bool = False  # in any life
    finished: bool = False
    why: str = ""  # of the last death, or why it is not ready
    died: str = ""  # of the last death, until a later life is ready or settled: what a crash loop is about

    @property
    def reason(self) -> str:
        """Why it is not well. In the moment in which it runs again, still what ended its last life."""
        if not self.died or self.ready:
            return self.why
        return self.died if self.why in ("", self.died) else f"{self.died}; it was started again: {self.why}"


@dataclass(frozen=True, slots=True)
class View:
    """All services, in start order, and whether we are on the way out."""

    services: tuple[Service, ...]
    children: tuple[Child, ...]
    stopping: bool = False

    @classmethod
    def of(cls, services: Iterable[Service]) -> View:
        """Nothing started yet."""
        listed = tuple(services)
        return cls(listed, tuple(Child() for _ in listed))

    def child(self, name: str) -> Child:
        """The child of that service."""
        return self.children[self._index(name)]

    def looping(self) -> tuple[str, ...]:
        """Services that die again and again: a reason to call the node degraded."""
        pairs = zip(self.services, self.children, strict=True)
        return tuple(service.name for service, child in pairs if child.deaths >= service.crash_loop_at)

    def due_in_s(self, now_s: float) -> float:
        """Until the next restart or SIGKILL that is due; infinite when none is."""
        timed = (child for child in self.children if child.phase in (Phase.BACKOFF, Phase.STOPPING))
        return min((max(0.0, child.due_s - now_s) for child in timed), default=float("inf"))

    @property
    def is_over(self) -> bool:
        """Whether every child is gone for good."""
        return self.stopping and all(child.phase is Phase.EXITED for child in self.children)

    def _index(self, name: str) -> int:
        for index, service in enumerate(self.services):
            if service.name == name:
                return index
        raise KeyError(name)

    def _with(self, name: str, child: Child) -> View:
        index = self._index(name)
        return replace(self, children=(*self.children[:index], child, *self.children[index + 1 :]))


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Started:
    """The process exists."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone (pid 0: it could not be started). `status` is 0 only for a clean exit."""

    name: str
    pid: int
    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """The service answers its own readiness question, or does not and why."""

    name: str
    pid: int
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Waive:
    """Others wait for this service no longer, whatever its state: a broken bucket must not keep the notebook shut."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop everything in order."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """A second signal: skip what is being waited for."""


Event = Tick | Started | Exited | Readiness | Waive | Stop | Hurry

# --- actions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start this service; answer with Started, or Exited with pid 0."""

    name: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM to the process (JupyterLab and sync end their own children)."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to the whole process group."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Do what is left of this service's last work within `left_s` seconds; answered as Spawn is."""

    name: str
    left_s: float


Action = Spawn | Terminate | Kill | Resume

# --- the step -------------------------------------------------------------------------------------------------------

HURRIED_S = 2.0
RESUMES = 3  # a last work that dies more often is left to the next start
RESUME_LEAST_S = 6.0  # less is what is left after a flush that used its whole time: that one is not repeated


def step(view: View, event: Event, now_s: float) -> tuple[View, tuple[Action, ...]]:
    """The next view, and what must be done now. `now_s` is monotonic."""
    match event:
        case Stop():
            view = replace(view, stopping=True)
        case Hurry():
            return _hurry(view, now_s)
        case Started(name, pid):
            view = _started(view, name, pid, now_s)
        case Exited(name, pid, status, why):
            view = _exited(view, name, pid, status, why, now_s)
        case Readiness(name, pid, ok, why):
            child = view.child(name)
            if child.phase is Phase.RUNNING and child.pid == pid:
                died = "" if ok else child.died
                was_ready = child.was_ready or (ok and not view.stopping)  # what answers after the stop opens nothing
                view = view._with(name, replace(child, ready=ok, was_ready=was_ready, why=why, died=died))
        case Waive(name):
            view = view._with(name, replace(view.child(name), was_ready=True))
        case Tick():
            view = _settled(view, now_s)
    return _stop_next(view, now_s) if view.stopping else _start_due(view, now_s)


def _started(view: View, name: str, pid: int, now_s: float) -> View:
    child = view.child(name)
    if child.phase is not Phase.STARTING:
        return view
    if child.resumes:
        return view._with(name, replace(child, phase=Phase.STOPPING, pid=pid, since_s=now_s, due_s=child.ends_s))
    return view._with(name, replace(child, phase=Phase.RUNNING, pid=pid, since_s=now_s, ready=False))


def _settled(view: View, now_s: float) -> View:
    """A life that is long enough ends a row of deaths while it lasts, not only when it ends."""
    for service, child in zip(view.services, view.children, strict=True):
        if child.phase is Phase.RUNNING and child.deaths and now_s - child.since_s >= service.settled_after_s:
            view = view._with(
                service.name, replace(child, deaths=0, died="", why="" if child.why == child.died else child.why)
            )
    return view


def _exited(view: View, name: str, pid: int, status: int, why: str, now_s: float) -> View:
    service, child = view.services[view._index(name)], view.child(name)
    if child.pid != pid or child.phase not in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING):
        return view  # news of an earlier life
    gone = replace(child, pid=0, since_s=now_s, ready=False, why=why, died=why, status=status)
    if child.phase is Phase.STOPPING:
        return view._with(name, _resumed_or_gone(service, gone, now_s))
    if service.may_finish and status == 0 and pid:
        gone = replace(gone, phase=Phase.EXITED, finished=True, deaths=0, why="it finished its work", died="")
        return replace(view._with(name, gone), stopping=True)
    settled = child.phase is Phase.RUNNING and now_s - child.since_s >= service.settled_after_s
    deaths = 1 if settled else child.deaths + 1
    delay_s = min(service.backoff_max_s, service.backoff_s * 2.0 ** min(deaths - 1, 30))
    return view._with(name, replace(gone, phase=Phase.BACKOFF, deaths=deaths, due_s=now_s + delay_s))


def _resumed_or_gone(service: Service, child: Child, now_s: float) -> Child:
    """A dead child on the way out: once more (BACKOFF, due now) if its last work is undone and there is time, or gone.

    Only a service that was ready once has last work: before that nobody could change anything.
    """
    ends_s = child.ends_s or now_s + service.stop_deadline_s
    undone = child.was_ready and bool(service.last_words) and child.status not in service.last_words
    if undone and child.resumes < RESUMES and ends_s - now_s >= RESUME_LEAST_S:
        return replace(child, phase=Phase.BACKOFF, due_s=now_s, ends_s=ends_s)
    return replace(child, phase=Phase.EXITED, since_s=now_s)


def _hurry(view: View, now_s: float) -> tuple[View, tuple[Action, ...]]:
    """A second SIGTERM to what is being waited for (sync then stops at once), SIGKILL `HURRIED_S` later."""
    for service, child in zip(view.services, view.children, strict=True):
        if view.stopping and child.phase is Phase.STOPPING:
            soon_s = min(child.due_s, now_s + HURRIED_S)
            hurried = replace(child, due_s=soon_s, ends_s=soon_s)
            return view._with(service.name, hurried), (Terminate(service.name, child.pid),)
        if view.stopping and child.phase is Phase.STARTING and child.resumes:
            return view._with(service.name, replace(child, ends_s=min(child.ends_s, now_s + HURRIED_S))), ()
    return _stop_next(replace(view, stopping=True), now_s)


def _start_due(view: View, now_s: float) -> tuple[View, tuple[Action, ...]]:
    actions: list[Action] = []
    for service in view.services:
        child = view.child(service.name)
        needed = all(view.child(name).was_ready for name in service.needs)
        again = child.phase is Phase.BACKOFF and now_s >= child.due_s
        if (child.phase is Phase.WAITING and needed) or again:
            started = replace(child, phase=Phase.STARTING, since_s=now_s, restarts=child.restarts + again)
            view = view._with(service.name, started)
            actions.append(Spawn(service.name))
    return view, tuple(actions)


def _stop_next(view: View, now_s: float) -> tuple[View, tuple[Action, ...]]:
    for service in reversed(view.services):
        child = view.child(service.name)
        match child.phase:
            case Phase.WAITING | Phase.BACKOFF:
                child = _resumed_or_gone(service, child, now_s)
                if child.phase is Phase.BACKOFF:
                    again = replace(child, phase=Phase.STARTING, since_s=now_s, resumes=child.resumes + 1)
                    return view._with(service.name, again), (Resume(service.name, child.ends_s - now_s),)
                view = view._with(service.name, child)
            case Phase.STARTING:
                return view, ()  # its pid comes with the next event
            case Phase.RUNNING:
                due_s = now_s + service.stop_deadline_s
                stopping = replace(child, phase=Phase.STOPPING, since_s=now_s, due_s=due_s, ends_s=due_s, ready=False)
                return view._with(service.name, stopping), (Terminate(service.name, child.pid),)
            case Phase.STOPPING:
                if now_s < child.due_s:
                    return view, ()
                # Asked again each second until the kernel says that it is gone.
                later = replace(child, due_s=now_s + 1.0)
                return view._with(service.name, later), (Kill(service.name, child.pid),)
            case Phase.EXITED:
                continue
    return view, ()
