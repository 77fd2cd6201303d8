"""The monitor's process: measures what is due, tells the supervisor, and acts on what is confirmed.

A process of its own, because checks import cloud libraries and may hang; the supervisor only shows what it prints:
one JSON document a line. It also listens for `report_metric` and for "save and move" from JupyterLab's page.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflight import logs
from preflight.activity import is_idle, read_activity
from preflight.app_metrics import MetricSettings, Receiver, socket_path
from preflight.assessment import setup_from
from preflight.checks import Check, Context, Lane, Reading, Shared, all_checks
from preflight.evidence import finding_document
from preflight.leaving import Leaving
from preflight.model import Blame, Finding, Limit, Measurement, Severity, Status
from preflight.monitor import HARD, SOFT, WATCHED, Rule, Situation, Track, deletion_cost, feed, next_step
from preflight.platforms import Platform, detect
from preflight.policy import Rule as PolicyRule
from preflight.policy import judge
from preflight.runner import measure
from preflight.settings import Settings, load
from sync.clock import Clock, SystemClock
from sync.status import read_status

log = logging.getLogger(__name__)
SAY_EVERY_S = 15.0
ALSO = {"gpu.count": 60.0, "gpu.clock": 60.0}  # watched although a start measures them once
ONLY_SHOWN = frozenset({"gpu.memory_free"})  # the user's own notebook may hold it all
APP = "app."
LOADED_RATIO = 0.5  # of the GPU's time: from here on its clock says something


class NodeMonitor:
    """One monitor's life. `turn` does what is due; nothing in it raises for what a check or platform did."""

    def __init__(self, environ: Mapping[str, str], settings: Settings, platform: Platform, clock: Clock) -> None:
        self._environ, self._settings, self._platform, self._clock = environ, settings, platform, clock
        self._setup = setup_from(environ)
        self._metrics = MetricSettings.load(environ)
        self._receiver = Receiver(socket_path(settings.state_dir))
        self.leaving = Leaving(environ, settings, platform, clock)
        self._tracks: dict[str, Track] = {}
        self._readings: dict[str, dict[str, Any]] = {}
        self._findings: dict[str, Finding] = {}
        self._app: dict[str, float] = {}
        self._cost: int | None = None
        now_s = clock.monotonic()
        period_s = self._metrics.window_s / SOFT.window
        self._checks = {check.name: check for check in watched_checks(settings.monitor_every_s)}
        self._due = {name: now_s + (check.every_s or 60.0) for name, check in self._checks.items()}
        if not self._setup.expect_gpu and not _has_gpu(environ):
            for name in [name for name in self._due if name.startswith("gpu.")]:
                del self._due[name]
        self._due[APP] = now_s + period_s
        self._period_s = period_s

    def start(self) -> None:
        """Listen."""
        self._receiver.start()
        self.leaving.listen()

    def turn(self) -> float:
        """Do what is due; the seconds until something is."""
        now_s = self._clock.monotonic()
        context = self._context()  # checks of one turn share what they read: one look at the driver serves them all
        try:
            for name, due_s in sorted(self._due.items(), key=lambda pair: pair[1]):
                if due_s <= now_s and name == APP:
                    self._sample()
                    self._due[APP] = now_s + self._period_s
                elif due_s <= now_s:
                    self._measure(self._checks[name], context)
                    self._due[name] = now_s + (self._checks[name].every_s or 60.0)
        finally:
            context.shared.close()
        self._act()
        self._pay()
        return max(0.05, min(SAY_EVERY_S, min(self._due.values()) - self._clock.monotonic()))

    def document(self) -> dict[str, Any]:
        """What the supervisor shows."""
        return {
            "readings": list(self._readings.values()),
            "findings": [finding_document(one) for one in self._findings.values()],
            "app": self._app,
            "actions": self.leaving.actions,
            "handed_back": self.leaving.is_handed_back,
            "deletion_cost": self._cost,
        }

    # --- readings -------------------------------------------------------------------------------------------------

    def _context(self) -> Context:
        setup = self._setup
        return Context(
            environ=self._environ, platform=self._platform, data_dir=setup.data_dir, state_dir=setup.state_dir,
            stores=setup.stores, image_manifest=setup.image_manifest, clock=self._clock, rng=random.Random(),
            expect_gpu=setup.expect_gpu, limits={name: rule.limit for name, rule in setup.policy.rules.items()},
            shared=Shared(), open_store=setup.open_store,
        )  # fmt: skip

    def _measure(self, check: Check, context: Context) -> None:
        setup = self._setup
        seen = measure(check, context)
        finding = judge((seen,), setup.policy)[0]
        value = float(seen.value) if isinstance(seen.value, int | float) else None
        if check.name == "gpu.clock" and not _is_loaded(seen):
            value = None
        bad = finding.status in (Status.FAIL, Status.WARN) and check.name not in ONLY_SHOWN
        self._take(finding, value, finding.why if bad else "", WATCHED.get(check.name, HARD if check.hard else SOFT))

    def _sample(self) -> None:
        for name, (value, better) in self._receiver.sample().items():
            limit = self._metrics.limits.get(name.lower())
            broken = limit.broken(value) if limit else ""
            finding = Finding(
                name=APP + name, status=Status.PASS, blame=Blame.NODE, observed=value, unit="", why=broken, took_s=0.0,
                required=_required(limit.at_least, limit.at_most) if limit else "", code="APP-METRIC",
                advice="the node may be slower than it was, or the work changed", severity=Severity.WARN,
            )  # fmt: skip
            worse = {"higher": "lower", "lower": "higher"}.get(better, "")
            self._app[name] = value
            self._take(finding, value, broken, dataclasses.replace(SOFT, worse=worse))

    def _take(self, finding: Finding, value: float | None, broken: str, rule: Rule) -> None:
        before = self._tracks.get(finding.name, Track(rule))
        track = feed(dataclasses.replace(before, rule=rule), value, broken, self._clock.monotonic())
        self._tracks[finding.name] = track
        self._readings[finding.name] = {
            "name": finding.name, "observed": finding.observed, "unit": finding.unit, "status": finding.status.value,
            "baseline": track.baseline, "why": finding.why,
        }  # fmt: skip
        if track.raised:
            status = Status.FAIL if finding.status is Status.FAIL else Status.WARN
            self._findings[finding.name] = dataclasses.replace(finding, status=status, why=track.why, confirmed=True)
            if not before.raised:
                log.warning("the monitor found something", extra={"check": finding.name, "why": track.why})
        elif before.raised:
            self._findings.pop(finding.name, None)
            log.info("what the monitor found is over", extra={"check": finding.name})

    # --- acting ---------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        """At most one step a turn, for the first finding that allows one."""
        if self.leaving.is_handed_back or self.leaving.rests:
            return
        for name, finding in self._findings.items():
            situation = Situation(
                wanted=self._settings.monitor_action.value,
                idle=self._idle(),
                can_restart=self._platform.can_restart,
                can_reallocate=self._platform.can_reallocate,
                tried=self.leaving.tried(name),
            )
            step = next_step(name, rejects=self._rejects(finding), situation=situation)
            if step != "warn":
                self.leaving.take(step, name, self._check_again(finding), self._rule(name), finding.why)
                return

    def _rejects(self, finding: Finding) -> bool:
        rule = self._rule(finding.name)
        return finding.blame is Blame.NODE and rule is not None and rule.limit.severity is Severity.REJECT

    def _rule(self, name: str) -> PolicyRule | None:
        if not name.startswith(APP):
            return self._setup.policy.rules.get(name)
        limit = self._metrics.limits.get(name.removeprefix(APP).lower())
        if limit is None:
            return None
        wanted = Limit(
            at_least=limit.at_least, at_most=limit.at_most, severity=Severity.REJECT, why="the user's own demand"
        )
        return PolicyRule(name, "", wanted, title=f"Your metric {name.removeprefix(APP)}", from_user=True)

    def _check_again(self, finding: Finding) -> Check:
        """The check that confirms the finding once more before a node is left; for a metric, its last value."""
        if finding.name in self._checks:
            return self._checks[finding.name]
        value = finding.observed if finding.observed is not None else 0.0
        return Check(
            name=finding.name, title=finding.name, unit="", lane=Lane.HOST, limit=Limit(),
            measure=lambda _context: Reading(self._app.get(finding.name.removeprefix(APP), value)),
        )  # fmt: skip

    def _idle(self) -> bool | None:
        now = self._clock.now()
        return is_idle(read_activity(self._setup.state_dir, now), now, self._settings.idle_s)

    def _pay(self) -> None:
        """Tell Salad how late this instance should go, when that changed."""
        if self._platform.name != "salad":
            return
        now = self._clock.now()
        activity = read_activity(self._setup.state_dir, now)
        status = read_status(self._setup.state_dir)
        cost = deletion_cost(
            pending_bytes=status.pending_bytes if status else 0,
            busy=None if activity is None else activity.busy > 0,
            idle=is_idle(activity, now, self._settings.idle_s),
        )
        if cost != self._cost and self.leaving.pay(cost):
            self._cost = cost


def watched_checks(at_most_s: float = float("inf")) -> tuple[Check, ...]:
    """Every check with a period of its own or in ALSO, measured at least every `at_most_s`."""
    periods = ((one, ALSO.get(one.name, one.every_s)) for one in all_checks())
    return tuple(dataclasses.replace(one, every_s=min(own, at_most_s)) for one, own in periods if own is not None)


def _is_loaded(seen: Measurement) -> bool:
    share = seen.detail.get("utilization")
    return isinstance(share, float) and share >= LOADED_RATIO


def _has_gpu(environ: Mapping[str, str]) -> bool:
    devices = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")  # dxg: WSL2, where most of Salad's nodes live
    return any(Path(device).exists() for device in devices) or bool(environ.get("PREFLIGHT_EXPECT_GPU", "").strip("0 "))


def _required(at_least: float | None, at_most: float | None) -> str:
    sides = ((">=", at_least), ("<=", at_most))
    return ", ".join(f"{sign} {bound:g}" for sign, bound in sides if bound is not None)


def monitor_node(environ: Mapping[str, str]) -> int:
    """Run until SIGTERM."""
    logs.configure(environ)
    clock = SystemClock()
    monitor = NodeMonitor(environ, load(environ), detect(environ, clock), clock)
    monitor.start()
    woken = threading.Event()
    monitor.leaving.on_change = woken.set
    while True:
        pause_s = monitor.turn()
        sys.stdout.write(json.dumps({"monitor": monitor.document()}, default=str) + "\n")
        sys.stdout.flush()
        woken.wait(pause_s)
        woken.clear()
