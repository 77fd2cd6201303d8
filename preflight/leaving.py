"""The monitor's hands: flush and verify, then restart, recreate or hand back. Also "save and move" from a person.

Nothing is left before everything is saved. Handing back goes through the same examination, tokens and choke point
as at a start: here is no call of `reallocate`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from preflight.assessment import assess, setup_from
from preflight.checks import Check, Lane, Reading
from preflight.errors import ImdsError
from preflight.examine import open_ledger_store
from preflight.ladder import Ladder
from preflight.ledger import Ledger
from preflight.model import Limit, Severity
from preflight.platforms import Platform
from preflight.policy import Rule
from preflight.settings import Settings, sync_settings
from sync.clock import Clock
from sync.control import call
from sync.errors import SyncError
from sync.status import State

log = logging.getLogger(__name__)
GONE_WITHIN_S = 120.0  # a node that was handed back is stopped by then
REST_S = 300.0  # after a step that did not come about
MOVE = "user.move"


class Leaving:
    """What was done, remembered in the state folder so that a restarted container goes on where it was."""

    def __init__(self, environ: Mapping[str, str], settings: Settings, platform: Platform, clock: Clock) -> None:
        self._environ, self._settings, self._platform, self._clock = environ, settings, platform, clock
        self._state_dir = settings.state_dir.absolute()
        self._ladder = Ladder(self._state_dir, platform.machine())
        self._flush_s = sync_settings(environ).flush_timeout_s
        self._lock = threading.Lock()
        self._handed_back_s: float | None = None
        self._rests_until_s = float("-inf")
        self.actions: list[dict[str, Any]] = []
        self.on_change: Callable[[], None] = lambda: None

    @property
    def is_handed_back(self) -> bool:
        """Whether the platform took this node back and may still stop it."""
        since_s = self._handed_back_s
        return since_s is not None and self._clock.monotonic() - since_s < GONE_WITHIN_S

    @property
    def rests(self) -> bool:
        """Whether the last step failed, or was accepted and may still come about, a short while ago."""
        return self._clock.monotonic() < self._rests_until_s

    def tried(self, check: str) -> tuple[str, ...]:
        """Steps taken for this check on this node."""
        return self._ladder.tried(check)

    def take(self, step: str, name: str, check: Check, rule: Rule | None, why: str) -> tuple[bool, str]:
        """Flush, verify, and take the step. False with the reason when the node is kept."""
        with self._lock:
            saved, reason = self._save()
            if not saved:  # not remembered as tried: saving may work later
                return self._done(step, name, ok=False, outcome=f"node kept: {reason}")
            if step == "recreate" and (why_not := self._recreated_before(name)):
                return self._done(step, name, ok=False, outcome=f"node kept: {why_not}")
            self._remember(name, step)
            log.warning("leaving what was found", extra={"step": step, "check": name, "why": why})
            if step == "reallocate":
                return self._hand_back(name, check, rule)
            try:
                if step == "restart":
                    self._platform.restart()
                else:
                    self._platform.recreate()
            except ImdsError as error:
                return self._done(step, name, ok=False, outcome=f"node kept: {error}")
            self._rests_until_s = self._clock.monotonic() + GONE_WITHIN_S  # the next step only if this one did not help
            return self._done(step, name, ok=True, outcome="the platform accepted")

    def _save(self) -> tuple[bool, str]:
        """Flush and verify. What is not known to be saved keeps the node."""
        try:
            answer = call(self._state_dir, {"cmd": "flush", "timeout_s": self._flush_s}, self._flush_s + 10.0)
            if not answer.get("ok"):
                return False, str(answer.get("why") or "not everything could be saved")
            # The child itself is asked: the document on disk may be older than the flush.
            status = call(self._state_dir, {"cmd": "status"}, 10.0).get("status") or {}
        except SyncError as error:
            return False, f"sync did not answer ({error.what})"
        if status.get("state") != State.SAVED or status.get("pending_files"):
            return False, "not everything is saved"
        return True, ""

    def _hand_back(self, name: str, check: Check, rule: Rule | None) -> tuple[bool, str]:
        setup = setup_from(self._environ)
        rules = dict(setup.policy.rules)
        if rule is not None:
            rules[name] = rule
        policy = dataclasses.replace(setup.policy, rules=rules)
        # What PREFLIGHT_ON_REJECT says is meant for verdicts; a person who asks for another node has decided.
        consent = {"PREFLIGHT_ON_REJECT": "reallocate"} if name == MOVE else {}
        setup = dataclasses.replace(setup, checks=(check,), policy=policy, environ={**setup.environ, **consent})
        report = assess(setup, platform=self._platform, clock=self._clock, rng=random.Random())
        if not report.action.done:
            return self._done("reallocate", name, ok=False, outcome=report.action.outcome or "not confirmed")
        self._handed_back_s = self._clock.monotonic()
        return self._done("reallocate", name, ok=True, outcome=report.action.outcome)

    def _recreated_before(self, name: str) -> str:
        """Why this machine is not recreated for this check, "" if it may be: the disk forgets, the bucket does not."""
        setup = setup_from(self._environ)
        if not setup.stores:
            return "without a ledger nobody would know that it was recreated"
        try:
            store = open_ledger_store(setup)
            try:
                ledger = Ledger(store, self._platform.group, self._platform.machine())
                if ledger.claim_step("recreated", name, setup.policy.token_window_s):
                    return ""
            finally:
                store.close()
        except SyncError as error:
            return f"the ledger could not be written ({error.what})"
        self._remember(name, "recreate")
        return "it was recreated for this before"

    def _done(self, step: str, name: str, *, ok: bool, outcome: str) -> tuple[bool, str]:
        if not ok:
            self._rests_until_s = self._clock.monotonic() + REST_S
        self.actions = [
            *self.actions[-19:],
            {"kind": step, "reason": name, "done": ok, "outcome": outcome, "at": self._clock.now()},
        ]
        told = {"step": step, "check": name, "outcome": outcome}
        log.log(logging.INFO if ok else logging.WARNING, "what was done about it", extra=told)
        self.on_change()
        return ok, outcome

    def pay(self, cost: int) -> bool:
        """Set the deletion cost; False when the platform refused (asked again at the next change)."""
        try:
            self._platform.set_deletion_cost(cost)
        except ImdsError as error:
            log.info("the deletion cost could not be set", extra={"why": str(error)})
            return False
        return True

    # --- "save and move" --------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Answer `{"cmd": "move"}` on the supervisor's socket, one JSON object a line each way."""
        folder = self._state_dir
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "supervisor.sock").unlink(missing_ok=True)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            link.bind(f"/proc/self/fd/{opened}/supervisor.sock")  # a path may be longer than a socket's 107 bytes
        finally:
            os.close(opened)
        (folder / "supervisor.sock").chmod(0o600)
        link.listen(4)
        threading.Thread(target=self._serve, args=(link,), name="errands", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        while True:
            connection, _ = link.accept()
            with connection:
                connection.settimeout(5.0)
                try:
                    asked = json.loads(connection.makefile("rb").readline(65536))
                    answer = self.move() if asked.get("cmd") == "move" else {"ok": False, "why": "no such command"}
                    connection.sendall(json.dumps(answer).encode() + b"\n")
                except (OSError, ValueError, AttributeError):
                    continue

    def move(self) -> dict[str, Any]:
        """A person asks for another node: saved first, counted like every other reallocation."""
        if not self._platform.can_reallocate:
            return {"ok": False, "why": "this machine cannot be exchanged for another one"}
        limit = Limit(at_most=0.0, severity=Severity.REJECT, why="a person asked for another node")
        wish = Check(
            name=MOVE, title="A person asked for another node", unit="count", lane=Lane.HOST, limit=limit,
            measure=lambda _context: Reading(1.0),
        )  # fmt: skip
        ok, why = self.take("reallocate", MOVE, wish, Rule(MOVE, "count", limit, from_user=True), "a person asked")
        return {"ok": ok, "why": "" if ok else why, "outcome": why}

    # --- memory -----------------------------------------------------------------------------------------------------

    def _remember(self, check: str, step: str) -> None:
        if check == MOVE:
            return
        try:
            self._ladder.remember(check, step)
        except OSError as error:
            log.warning("the step could not be recorded", extra={"why": error.strerror})
