"""Asks the app and sync how they are, once in a while, and posts the answers: to the board and to the supervisor."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from preflight.board import Board, Stage
from preflight.supervisor import Phase, Readiness, View, Waive
from sync.clock import Clock
from sync.status import State, Status

log = logging.getLogger(__name__)
ASK_TIMEOUT_S = 3.0
FAST_S, SLOW_S = 0.2, 5.0  # while something is starting; once it runs
TROUBLE = frozenset({State.OFFLINE, State.HELD, State.FENCED, State.FAILED})
ALIVE_FOR_S = 1.0  # a command without a readiness question counts as ready after this


@dataclass(frozen=True, slots=True)
class Word:
    """What the app says of itself."""

    ok: bool
    why: str = ""
    busy: bool = False


def ask_url(url: str, *, timeout_s: float = ASK_TIMEOUT_S) -> Word:
    """200 is READY, 429 is BUSY (ready, but please nothing more), anything else is not ready."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else "") or "/")
        answer = connection.getresponse()
        said = answer.read(300).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as failed:
        said = (failed.strerror if isinstance(failed, OSError) else "") or str(failed) or type(failed).__name__
        return Word(False, f"it does not answer: {said}")
    finally:
        connection.close()
    if answer.status == 200:
        return Word(True)
    if answer.status == 429:
        return Word(True, said or "it is busy", busy=True)
    return Word(False, f"it answers {answer.status}")


def ask_file(path: Path) -> Word:
    """The first word is READY, BUSY or FAILED (also DRAINING: not ready); the rest is the reason."""
    try:
        first, _, rest = path.read_text(errors="replace").strip().partition(" ")
    except OSError:
        return Word(False, f"there is no {path.name} yet")
    match first.rstrip(":").upper():
        case "READY" | "":
            return Word(True)
        case "BUSY":
            return Word(True, rest or "it is busy", busy=True)
        case word:
            return Word(False, f"it says {word}" + (f": {rest}" if rest else ""))


@dataclass(frozen=True, slots=True)
class Gate:
    """When the app may start, as far as the folder is concerned. Pure."""

    offline_after_s: float

    def opens(self, status: Status | None, waited_s: float) -> Word:
        """A broken bucket never takes the notebook away: then it opens with a warning instead."""
        if status is not None and status.restored:
            return Word(True)
        if status is not None and status.state in (State.FAILED, State.FENCED):
            why = status.why or status.state.value
            return Word(True, why if "nothing is saved" in why else f"nothing is saved: {why}")
        if status is not None and status.state is State.RESTORING:
            return Word(False, "the folder is being restored")
        if waited_s >= self.offline_after_s:
            return Word(
                True, (status.why if status else "") or "the bucket does not answer; what you do is not saved yet"
            )
        return Word(False, "waiting for the bucket")


class Watch(threading.Thread):
    """One thread that asks; nothing else in the supervisor waits for an answer."""

    def __init__(
        self,
        board: Board,
        *,
        clock: Clock,
        gate: Gate,
        ask: Callable[[float], Word],  # how long the app has run -> its word
        post: Callable[[Readiness | Waive], None],
        on_sync: Callable[[Status], None],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._board, self._clock, self._gate, self._ask = board, clock, gate, ask
        self._post, self._on_sync, self._on_ready = post, on_sync, on_ready
        self._stopped = threading.Event()
        self._began_s = clock.monotonic()
        self._asked_s = float("-inf")
        self._said: dict[str, str] = {}

    def stop(self) -> None:
        """No more questions."""
        self._stopped.set()

    def run(self) -> None:
        pause_s = FAST_S
        while not self._stopped.wait(pause_s):
            try:
                pause_s = self._look()
            except Exception:  # part of the supervisor's named place: without answers the node would look dead
                log.exception("asking met a bug of ours and goes on")
                pause_s = 1.0

    def _look(self) -> float:
        """Ask what is due; the seconds until the next look."""
        view = self._board.facts.view
        if view is None or view.stopping:
            return FAST_S
        opened = self._look_at_sync(view)
        return 1.0 if opened and self._look_at_app(view) else FAST_S

    def _look_at_sync(self, view: View) -> bool:
        status = self._board.sync()
        if status is not None:
            self._on_sync(status)
            is_trouble = status.state in (State.OFFLINE, State.HELD, State.FENCED, State.FAILED)
            self._tell("sync", f"{status.state.value} {status.why}".strip(), ok=not is_trouble)
        child = _child(view, "sync")
        if child is None:
            return True
        pid, phase, was_ready = child
        if was_ready:
            return True
        word = self._gate.opens(status, self._clock.monotonic() - self._began_s)
        if word.ok and word.why:
            log.warning("JupyterLab opens although the folder could not be restored", extra={"why": word.why})
            self._board.post(warnings=(*self._board.facts.warnings, word.why))
            self._post(Waive("sync"))
        elif word.ok and phase is Phase.RUNNING:
            self._post(Readiness("sync", pid, ok=True))
        return word.ok

    def _look_at_app(self, view: View) -> bool:
        child = _child(view, "app")
        if child is None or child[1] is not Phase.RUNNING:
            self._board.post(app_ok=False, app_why=view.child("app").reason or "it was not started yet", busy_why="")
            return False
        pid, _, was_ready = child
        now_s = self._clock.monotonic()
        facts = self._board.facts
        if facts.app_ok and now_s - self._asked_s < SLOW_S:
            return True
        self._asked_s = now_s
        since_s = next(
            one.since_s for service, one in zip(view.services, view.children, strict=True) if service.name == "app"
        )
        word = self._ask(now_s - since_s)
        if self._board.facts.stage is Stage.STOPPING:
            return False  # that it stopped answering while it was asked is no news
        if word.ok:
            stage = Stage.OPEN if facts.stage in (Stage.RESTORING, Stage.OPENING) else facts.stage
            self._board.post(
                app_ok=True,
                app_why="",
                app_at_s=self._clock.monotonic(),
                busy_why=word.why if word.busy else "",
                stage=stage,
            )
            if facts.opened_after_s is None:
                self._board.post(opened_after_s=self._clock.monotonic() - facts.started_s)
            if not was_ready and self._said.get("app") != "answers":
                self._on_ready()
        elif facts.app_at_s is None or now_s - facts.app_at_s > SLOW_S * 3:
            # One slow answer of a server that answered before is no news; three are.
            self._board.post(app_ok=False, app_why=word.why, busy_why="")
        if word.ok or was_ready:
            self._tell("app", "answers" if word.ok else word.why, ok=word.ok)
        self._post(Readiness("app", pid, ok=word.ok, why=word.why))
        return word.ok

    def _tell(self, name: str, said: str, *, ok: bool) -> None:
        """One line a change."""
        before = self._said.get(name)
        if before != said:
            self._said[name] = said
            log.log(
                logging.INFO if ok else logging.WARNING, f"{name} changed", extra={"before": before or "", "now": said}
            )


def _child(view: View, name: str) -> tuple[int, Phase, bool] | None:
    for service, child in zip(view.services, view.children, strict=True):
        if service.name == name:
            return child.pid, child.phase, child.was_ready
    return None
