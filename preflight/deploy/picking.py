"""Several nodes at the start, one from then on: shorter waiting for the first that passes its checks.

All replicas have the same folder, and only one may write it (the lease's rule: the newest holder wins). So the one that
is kept is restarted in place at the end if another one had begun to run: that makes it the newest holder again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from preflight.deploy.errors import Busy
from preflight.deploy.salad_api import HIGHEST_DELETION_COST, Instance, Salad
from sync.clock import Clock

POLL_S = 10.0  # well under 240 requests a minute


@dataclass(frozen=True, slots=True)
class Picked:
    """The replica that stays, and whether it had to be started again to hold the folder."""

    instance: Instance
    restarted: bool


def keep_first(
    api: Salad, name: str, clock: Clock, *, wait_s: float, tell: Callable[[str], None] = lambda _line: None
) -> Picked | None:
    """Wait for the first replica that passes, protect it, and shrink the group to one.

    None when none passed within `wait_s`: the group is shrunk all the same, so that nobody pays for the rest.
    Raises DeployError.
    """
    first, rivals = _first_passed(api, name, clock, wait_s, tell)
    if first is None:
        tell("no replica passed in time: shrinking to one, which goes on trying")
        api.update(name, {"replicas": 1})
        return None
    tell(f"node {first.machine_id} passed first: keeping it")
    api.set_deletion_cost(name, first.id, HIGHEST_DELETION_COST)
    api.update(name, {"replicas": 1})
    rivals |= _until_alone(api, name, first, clock, wait_s=120.0)
    if rivals:
        tell("another replica had begun to run: restarting the kept one in place so that it holds the folder")
        api.restart(name, first.id)
    return Picked(first, restarted=bool(rivals))


def _first_passed(
    api: Salad, name: str, clock: Clock, wait_s: float, tell: Callable[[str], None]
) -> tuple[Instance | None, bool]:
    deadline = clock.monotonic() + wait_s
    shown = ""
    while True:
        instances = _instances(api, name)
        line = ", ".join(sorted(_words(instance) for instance in instances)) or "waiting for nodes"
        if line != shown:
            tell(line)
            shown = line
        passed = [instance for instance in instances if instance.passed]
        if passed:
            best = max(passed, key=lambda instance: instance.ready)
            return best, any(instance.state == "running" for instance in instances if instance.id != best.id)
        if clock.monotonic() >= deadline:
            return None, False
        clock.sleep(POLL_S)


def _until_alone(api: Salad, name: str, kept: Instance, clock: Clock, *, wait_s: float) -> bool:
    """Wait until the others are gone; whether one of them ran meanwhile."""
    deadline = clock.monotonic() + wait_s
    ran = False
    while True:
        others = [instance for instance in _instances(api, name) if instance.id != kept.id]
        ran |= any(instance.state in ("running", "stopping") for instance in others)
        if not others or clock.monotonic() >= deadline:
            return ran
        clock.sleep(POLL_S)


def _instances(api: Salad, name: str) -> tuple[Instance, ...]:
    try:
        return api.instances(name)
    except Busy:
        return ()  # one missed look; the deadline bounds how often


def _words(instance: Instance) -> str:
    if instance.state != "running":
        return instance.state
    return "passed" if instance.started else "checking its node"
