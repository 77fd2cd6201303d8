"""Put an order on its platform: look, then create or change. Says what it did; the shell prints it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from preflight.deploy import gongji, salad
from preflight.deploy.errors import WouldRestart
from preflight.deploy.gongji_api import Gongji
from preflight.deploy.salad_api import Salad
from preflight.deploy.variables import masked

Json = dict[str, object]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """The request that would be sent, or was. `method` is "" when nothing differs."""

    method: str
    path: str
    body: Json

    def shown(self) -> Json:
        """The step with secrets masked, for people and --dry-run."""
        return {"method": self.method, "path": self.path, "body": _masked(self.body)}


def salad_step(existing: Mapping[str, object] | None, wanted: Json, *, may_restart: bool, tell: Tell) -> Step:
    """What to send for a group. Raises WouldRestart when that restarts a running notebook and nobody allowed it."""
    name = str(wanted["name"])
    if existing is None:
        return Step("POST", "/containers", wanted)
    for key in salad.fixed_differences(existing, wanted):
        tell(f"networking.{key} differs, and cannot be changed after creation: deploy under another name for that")
    patch = salad.update_request(existing, wanted)
    state = existing.get("current_state")
    stopped = isinstance(state, Mapping) and state.get("status") in ("stopped", "failed", "succeeded")
    restarts = salad.restarting(patch)
    if restarts and not stopped and not may_restart:
        raise WouldRestart(
            f"changing {', '.join(restarts)} restarts the running replica, and the notebook with it",
            hint="pass --restart when that is fine (the folder is flushed first if the platform sends SIGTERM)",
        )
    if salad.moving(patch):
        tell("nodes that do not match the new hardware or countries are replaced")
    return Step("PATCH" if patch else "", f"/containers/{name}", patch)


def place_on_salad(api: Salad, step: Step, name: str) -> Json:
    """Send it; the group afterwards. Raises DeployError."""
    if step.method == "POST":
        return api.create(step.body)
    if step.method == "PATCH":
        return api.update(name, step.body)
    return api.group(name) or {}


def gongji_step(detail: Mapping[str, object] | None, wanted: Json, *, may_restart: bool) -> Step:
    """What to send for a task. An update overwrites the task and restarts its node. Raises WouldRestart."""
    if detail is None:
        return Step("POST", "/api/deployment/task/create", wanted)
    body = gongji.update_request(detail, wanted)
    if body == detail:
        return Step("", "/api/deployment/task/update", {})
    if detail.get("status") == "Running" and not may_restart:
        raise WouldRestart(
            "an update restarts the running node, and the notebook with it", hint="pass --restart when that is fine"
        )
    return Step("POST", "/api/deployment/task/update", body)


def place_on_gongji(api: Gongji, step: Step, task_id: int | None) -> int:
    """Send it; the task's id. Raises DeployError."""
    if task_id is None:
        return api.create(step.body)
    if step.method:
        api.update(step.body)
    return task_id


_SECRET_FIELDS = (
    "password",
    "service_key",
    "personal_access_token",
    "secret_access_key",
    "api_token",
    "repository_password",
)


def _masked(value: object) -> Json:
    shown: Json = {}
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if key == "environment_variables" and isinstance(inner, Mapping):
            shown[key] = masked({str(name): str(text) for name, text in inner.items()})
        elif key == "env":
            shown[key] = gongji.environment_text(masked(gongji.environment_from(inner)))
        elif key in _SECRET_FIELDS and isinstance(inner, str):
            shown[key] = "••••"
        elif isinstance(inner, Mapping):
            shown[key] = _masked(inner)
        elif isinstance(inner, list):
            shown[key] = [_masked(item) if isinstance(item, Mapping) else item for item in inner]
        else:
            shown[key] = inner
    return shown
