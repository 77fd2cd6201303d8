"""The start of a node, top to bottom: probes, settings, checks, verdict, folder, app. Then the loop until the end.

On a platform nothing here ends the process with an error: there, a non-zero exit costs the node.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight import examination, metrics, processes, server, services
from preflight.board import Board, Stage
from preflight.desk import Desk
from preflight.errors import BadSettings
from preflight.examination import Outcome
from preflight.last_report import keep_report
from preflight.loop import Loop, Signals
from preflight.outcomes import account_faults, kept_report, last_words
from preflight.page import page
from preflight.platforms import Platform, detect
from preflight.readiness import Gate, Watch
from preflight.server import Listener, PortTaken
from preflight.settings import Settings, faults_of_others, read
from preflight.supervisor import View
from preflight.terminal import Face, face
from preflight.variables import unknown
from sync.clock import Clock
from sync.status import State, Status

log = logging.getLogger(__name__)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
GONE_WITHIN_S = 120.0  # a node that was handed back is stopped by then, or it stays ours


@dataclass
class Launch:
    """One life of `preflight up`."""

    environ: Mapping[str, str]
    command: Sequence[str]
    clock: Clock
    signals: Signals = field(default_factory=Signals)
    exit_code: int = 0
    gone_within_s: float = GONE_WITHIN_S

    def run(self) -> int:
        """The exit code: 0; on a machine of the user's own 2 for wrong settings and 1 for a bug of ours."""
        processes.step_ahead()
        self.signals.install()
        self.board = Board(self.clock)
        self.face: Face = face(self.clock)
        settings, faults = read(self.environ)
        self.settings = settings
        self.board.post(app_name="app" if self.command else "jupyterlab")
        self.board.use(settings.state_dir.absolute())
        self.listeners: dict[str, Listener] = {}
        try:
            return self._run(settings, faults)
        except Exception:  # part of the supervisor's named place: see loop.py
            log.exception("preflight met a bug of its own")
            if self._may_fail():
                return 1
            # Probes go on answering: another node would run into the same bug.
            self.board.post(report_error="preflight met a bug of its own: its log says more")
            self._hold(None)
            return 0
        finally:
            for listener in self.listeners.values():
                listener.stop()

    def _run(self, settings: Settings, faults: list[str]) -> int:
        faults += self._listen(settings)
        faults += [fault for fault in faults_of_others(self.environ) if fault not in faults]
        self.platform = self._detect(faults)
        self.board.post(platform=self.platform.name, machine=self.platform.machine(), faults=tuple(faults))
        if faults:
            return self._refuse(faults)
        return self._start()

    def _keep_degraded(self, report: Mapping[str, Any]) -> None:
        """The node was handed back and is still here: everybody who asks hears the same."""
        self.board.post(report=report)
        try:
            keep_report(report, self.settings.state_dir)
        except OSError as error:
            log.warning("the report could not be kept", extra={"why": str(error)})

    def _may_fail(self) -> bool:
        """Whether an exit code other than 0 costs nothing: only surely off a platform.

        A node's UUID in SALAD_MACHINE_ID means Salad also while its metadata service does not answer yet (people who
        set the variable by hand write other words into it).
        """
        forced = self.environ.get("PREFLIGHT_PLATFORM", "").strip().lower()
        if forced == "none":
            return True
        known = hasattr(self, "platform") and self.platform.name != "none"
        return not known and UUID.fullmatch(self.environ.get("SALAD_MACHINE_ID", "").strip()) is None

    # --- before anything starts ---------------------------------------------------------------------------------

    def _listen(self, settings: Settings) -> list[str]:
        routes = {
            "PREFLIGHT_PROBE_PORT": (
                settings.probe_port,
                server.probe_routes(self.board, metrics.exposition(self.board), page),
            ),
            "PREFLIGHT_PORT": (settings.port, server.page_route(self.board, page)),
        }
        faults = []
        for variable, (port, route) in routes.items():
            try:
                self.listeners[variable] = Listener(port, route)
            except PortTaken as taken:
                faults.append(f"{variable}: {taken}; stop what uses it, or set {variable} to another port")
        return faults

    def _detect(self, faults: Sequence[str]) -> Platform:
        environ = dict(self.environ)
        if any(fault.startswith("PREFLIGHT_PLATFORM:") for fault in faults):
            del environ["PREFLIGHT_PLATFORM"]  # a misspelt platform must not make us forget that we are on one
        return detect(environ, self.clock)

    def _refuse(self, faults: Sequence[str]) -> int:
        for fault in faults:
            self.face.problem(fault)
        if self._may_fail():
            return 2
        self.board.post(stage=Stage.BAD_SETTINGS, faults=tuple(faults))
        log.error("the settings are wrong: the container stays up and shows them, and does nothing else")
        self._hold(None)
        return 0

    def _hold(self, limit_s: float | None) -> bool:
        """Wait to be stopped; False when `limit_s` passed first."""
        until_s = None if limit_s is None else self.clock.monotonic() + limit_s
        while not self.signals.count:
            self.board.beat()
            if until_s is not None and self.clock.monotonic() >= until_s:
                return False
            self.clock.sleep(0.2)
        self.board.post(stage=Stage.STOPPING)
        return True

    # --- checks and verdict -------------------------------------------------------------------------------------

    def _start(self) -> int:
        log.info("preflight starts", extra={
            "machine": self.board.facts.machine, "platform": self.platform.name, "port": self.settings.port,
            "probe_port": self.settings.probe_port,
        })  # fmt: skip
        self.face.say("Checking this node…")
        plan = services.Plan(self.settings, self.environ, tuple(self.command))
        preparing = _Preparing(plan.prepare)  # JupyterLab's password is hashed while the checks run
        outcome = self._examine()
        if self.signals.count:
            return 0
        if self._may_fail() and (wrong := account_faults(outcome, plan.store_variables)):
            for fault in wrong:
                self.face.problem(fault)
            return 2
        if outcome.handed_back:
            self.board.post(stage=Stage.HANDING_BACK)
            log.warning("this node was handed back; waiting to be stopped", extra={"limit_s": self.gone_within_s})
            if self._hold(self.gone_within_s):
                return 0
            log.error("the platform took the node back but did not stop it: going on, degraded")
            self._keep_degraded(kept_report(outcome.report or {}, self.gone_within_s))
        self.board.post(stage=Stage.RESTORING)
        try:
            preparing.result()
        except BadSettings as bad:
            return self._refuse(bad.problems)
        plan.repair(outcome.report)
        warnings = (*unknown(self.environ), *plan.warnings)
        for warning in warnings:
            log.warning(warning)
        self.board.post(warnings=(*self.board.facts.warnings, *warnings), url=plan.url, sync_expected=plan.has_sync)
        return self._supervise(plan)

    def _examine(self) -> Outcome:
        def take(finding: Mapping[str, object]) -> None:
            self.board.beat()
            self.board.add_finding(finding)
            self.face.finding(finding)

        def stopped() -> bool:
            self.board.beat()
            return self.signals.count > 0

        outcome = examination.examine(self.environ, clock=self.clock, on_finding=take, stopped=stopped)
        if outcome.report is not None:
            self.board.post(report=outcome.report)
            self.face.verdict(outcome.report)
        elif not self.signals.count:
            log.error("no verdict: the node is used, degraded", extra={"why": outcome.error})
            self.board.post(report_error=outcome.error)
        return outcome

    # --- the life of the node -----------------------------------------------------------------------------------

    def _supervise(self, plan: services.Plan) -> int:
        self.store_variables = plan.store_variables
        commands = dict(plan.commands)
        commands["app"] = self._hand_port_over(commands["app"])
        loop = Loop(
            plan.services, commands, clock=self.clock, signals=self.signals, on_view=self._on_view,
            on_started=plan.on_started(self.board), on_exited=self._on_exited, resume=plan.resume,
        )  # fmt: skip
        watch = Watch(
            self.board, clock=self.clock, gate=Gate(self.settings.open_offline_after_s), ask=plan.ask, post=loop.post,
            on_sync=self._on_sync, on_ready=lambda: self.face.opening(plan.url, plan.take_password(), plan.title),
        )  # fmt: skip
        desk = Desk(self.settings.state_dir.absolute(), self.environ)
        desk.start()
        watch.start()
        view = loop.run()
        watch.stop()
        desk.stop()
        plan.close()
        log.info("everything has stopped", extra={"exit_code": self.exit_code})
        self.face.say(last_words(self.board.last_sync(), view.child("sync").status))
        return self.exit_code

    def _on_view(self, view: View) -> None:
        self.board.post(view=view, beat_s=self.clock.monotonic())
        if view.stopping and self.board.facts.stage is not Stage.STOPPING:
            self.board.post(stage=Stage.STOPPING)
            self.face.say("Stopping: saving what is left. (Once more skips that.)")

    def _hand_port_over(self, command: Callable[[], services.Command]) -> Callable[[], services.Command]:
        def made() -> services.Command:
            if (listener := self.listeners.pop("PREFLIGHT_PORT", None)) is not None:
                listener.stop()
            if self.board.facts.stage is Stage.RESTORING:
                self.board.post(stage=Stage.OPENING)
            return command()

        return made

    def _on_exited(self, name: str, why: str) -> None:
        """While the app is down, its port shows the page again."""
        if name != "app" or self.board.facts.stage is Stage.STOPPING:
            return
        self.board.post(app_ok=False, app_why=why)
        try:
            self.listeners["PREFLIGHT_PORT"] = Listener(self.settings.port, server.page_route(self.board, page))
        except PortTaken as taken:
            log.warning("the page cannot be shown while JupyterLab is down", extra={"why": str(taken)})

    def _on_sync(self, status: Status) -> None:
        if status.state is State.RESTORING or status.restored:
            self.face.restore(status.restore, done=status.restored)
        wrong = status.state is State.FAILED and not status.restored and not self.exit_code
        if wrong and self._may_fail() and not self.board.facts.app_ok and self.board.facts.sync_expected:
            self.exit_code = 2
            told = f"{self.store_variables}: {status.why}"
            self.face.problem(f"{told}; {status.hint}" if status.hint else told)
            self.signals.ask_to_stop()


class _Preparing(threading.Thread):
    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="prepare", daemon=True)
        self._work = work
        self._failed: BadSettings | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BadSettings as bad:
            self._failed = bad

    def result(self) -> None:
        self.join()
        if self._failed is not None:
            raise self._failed


def up(environ: Mapping[str, str], command: Sequence[str], clock: Clock) -> int:
    """`preflight up`: the exit code."""
    return Launch(environ, command, clock).run()
