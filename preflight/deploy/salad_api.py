"""Salad's public API as the few calls that a deployment makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from preflight.deploy.errors import BadOrder, DeployError, NotThere
from preflight.deploy.wire import Wire
from sync.clock import Clock

URL = "https://api.salad.com/api/public"
KEY_HEADER = "Salad-Api-Key"
HIGHEST_DELETION_COST = 100_000  # the public API's limit; the instance with the highest cost is deleted last


@dataclass(frozen=True, slots=True)
class Instance:
    """One replica of a group on one node. `started`: its startup probe succeeded, so the verdict is not reject."""

    id: str
    machine_id: str
    state: str  # allocating | downloading | creating | running | stopping
    started: bool
    ready: bool

    @property
    def passed(self) -> bool:
        """Whether the node proved itself fit (without a `started` the API says nothing, and nothing is assumed)."""
        return self.state == "running" and self.started


class Salad:
    """Calls in the name of one organization and project. Every method raises DeployError."""

    def __init__(self, key: str, organization: str, project: str, clock: Clock, *, url: str = URL) -> None:
        headers = {KEY_HEADER: key, "Accept": "application/json"}
        self._wire = Wire(url, lambda _path, _body: headers, clock)
        self._organization = f"/organizations/{quote(organization, safe='')}"
        self._groups = f"{self._organization}/projects/{quote(project, safe='')}/containers"

    def gpu_classes(self) -> dict[str, str]:
        """Name -> id of every GPU class that the organization may use."""
        answer = _object(self._wire.send("GET", f"{self._organization}/gpu-classes"))
        items = answer.get("items")
        if not isinstance(items, list):
            raise DeployError("the list of GPU classes has no items")
        return {
            str(item["name"]): str(item["id"])
            for item in items
            if isinstance(item, dict) and "id" in item and "name" in item
        }

    def group(self, name: str) -> dict[str, object] | None:
        """The group as it is, or None when there is none of that name."""
        try:
            return _object(self._wire.send("GET", self._path(name)))
        except NotThere:
            return None

    def create(self, request: Mapping[str, object]) -> dict[str, object]:
        """Raises NameTaken besides."""
        return _object(self._wire.send("POST", self._groups, request))

    def update(self, name: str, patch: Mapping[str, object]) -> dict[str, object]:
        return _object(self._wire.send("PATCH", self._path(name), patch, content_type="application/merge-patch+json"))

    def instances(self, name: str) -> tuple[Instance, ...]:
        items = _object(self._wire.send("GET", f"{self._path(name)}/instances")).get("instances")
        return tuple(_instance(item) for item in items if isinstance(item, dict)) if isinstance(items, list) else ()

    def set_deletion_cost(self, name: str, instance_id: str, cost: int) -> None:
        """How late this instance goes when the group shrinks: 0..100000."""
        path = f"{self._path(name)}/instances/{quote(instance_id, safe='')}"
        self._wire.send("PATCH", path, {"deletion_cost": cost}, content_type="application/merge-patch+json")

    def restart(self, name: str, instance_id: str) -> None:
        """The same container again on the same node, with its disk."""
        self._wire.send("POST", f"{self._path(name)}/instances/{quote(instance_id, safe='')}/restart")

    def _path(self, name: str) -> str:
        return f"{self._groups}/{quote(name, safe='')}"


def gpu_ids(wanted: Sequence[str], classes: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of GPU classes that people name as they like: "4090", "rtx 4090", the full name, or the id itself.

    A name that fits several classes ("3060": 8 GB and 12 GB) means all of them, except that "4070" is not "4070 Ti".
    Raises BadOrder with the names that exist.
    """
    found: dict[str, None] = {}
    problems = []
    for name in wanted:
        ids = [id_ for label, id_ in classes.items() if name.lower() == id_.lower() or _fits(name, label)]
        found.update(dict.fromkeys(ids))
        if not ids:
            problems.append(f"no GPU class is called {name!r}; there are: {', '.join(sorted(classes)) or 'none'}")
    if problems:
        raise BadOrder(problems)
    return tuple(found)


_NOISE = {"nvidia", "geforce", "rtx", "gtx", "gb", "desktop"}
_SUFFIXES = {"ti", "super", "laptop", "mobile", "d", "s"}


def _words(text: str) -> list[str]:
    for mark in "()-_,/":
        text = text.replace(mark, " ")
    return [word for word in text.lower().split() if word not in _NOISE]


def _fits(name: str, label: str) -> bool:
    asked, offered = _words(name), _words(label)
    missing = [word for word in offered if word not in asked]
    return bool(asked) and all(word in offered for word in asked) and not _SUFFIXES.intersection(missing)


def _instance(item: Mapping[str, object]) -> Instance:
    return Instance(
        id=str(item.get("id", "")),
        machine_id=str(item.get("machine_id", "")),
        state=str(item.get("state", "")),
        started=item.get("started") is True,
        ready=item.get("ready") is True,
    )


def _object(answer: object) -> dict[str, object]:
    if not isinstance(answer, dict):
        raise DeployError(f"the platform answered with {type(answer).__name__} where an object was expected")
    return answer
