"""Salad's container groups as pure data: order -> request, group as read -> request that makes it again.

Limits are those of Salad's public API: name and display-name patterns, 1..16 CPUs, 1024..61440 MB of memory, storage in
bytes from 1 to 250 GiB, shared memory in MB from 64, values of variables 1..1000 characters, 0..500 replicas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from preflight.deploy.errors import BadOrder
from preflight.deploy.flavours import GIB, Flavour
from preflight.deploy.probes import PROBE_PORT, Timing, liveness, readiness, startup

Json = dict[str, object]

NAME = re.compile(r"^[a-z][a-z0-9-]{0,61}[a-z0-9]$")
DISPLAY_NAME = re.compile(r"^[ ,-.0-9A-Za-z]{2,63}$")
PRIORITIES = ("high", "medium", "low", "batch")
PORT = 8000


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to run on Salad. GPU classes are the platform's ids, looked up before."""

    name: str
    image: str
    flavour: Flavour
    environment: Mapping[str, str] = field(default_factory=dict)
    gpu_class_ids: tuple[str, ...] = ()
    display_name: str = ""
    cpus: int = 0  # 0: the flavour's
    memory_mb: int = 0
    storage_bytes: int = 0
    shm_mb: int = 0
    country_codes: tuple[str, ...] = ()
    priority: str = "high"  # the only one that other workloads never interrupt
    replicas: int = 1
    registry_auth: Mapping[str, str] = field(default_factory=dict)  # {"username", "password"} or empty


def problems(order: Order) -> list[str]:
    """Everything about the order that the API would refuse, each as a sentence; empty when it can be sent."""
    cpus, memory_mb, storage_bytes, shm_mb = _sizes(order)
    checks = [
        (bool(NAME.match(order.name)), f"name {order.name!r}: 2 to 63 of a-z, 0-9, -; a letter first, no - last"),
        (not order.display_name or bool(DISPLAY_NAME.match(order.display_name)),
         "display name: 2 to 63 of letters, digits, blank, comma, dot and minus"),
        (0 < len(order.image) <= 1024, "image: 1 to 1024 characters"),
        (_pinned(order.image), f"image {order.image!r}: name a version or digest (nodes cache images by tag)"),
        (1 <= cpus <= 16, f"{cpus} CPUs: 1 to 16"),
        (1024 <= memory_mb <= 61440, f"{memory_mb} MB of memory: 1024 to 61440"),
        (GIB <= storage_bytes <= 250 * GIB, f"{storage_bytes} bytes of storage: 1 GiB to 250 GiB"),
        (64 <= shm_mb <= memory_mb, f"{shm_mb} MB of shared memory: 64 up to the memory"),
        (order.priority in PRIORITIES, f"priority {order.priority!r}: one of {', '.join(PRIORITIES)}"),
        (1 <= order.replicas <= 500, f"{order.replicas} replicas: 1 to 500"),
        (all(re.fullmatch(r"[a-z]{2}", code) for code in order.country_codes), "countries: two letters each (us, de)"),
        (bool(order.gpu_class_ids) or not order.flavour.wants_gpu, f"flavour {order.flavour.name} needs --gpu"),
    ]  # fmt: skip
    found = [problem for holds, problem in checks if not holds]
    found += [
        f"{name}: {len(value)} characters, 1 to 1000 are taken"
        for name, value in order.environment.items()
        if not 1 <= len(value) <= 1000
    ]
    return found


def create_request(order: Order) -> Json:
    """The body of POST …/containers. Raises BadOrder with all faults at once."""
    if found := problems(order):
        raise BadOrder(found)
    cpus, memory_mb, storage_bytes, shm_mb = _sizes(order)
    container: Json = {
        "image": order.image,
        "resources": {
            "cpu": cpus,
            "memory": memory_mb,
            "gpu_classes": list(order.gpu_class_ids),
            "storage_amount": storage_bytes,
            "shm_size": shm_mb,
        },
        "environment_variables": dict(order.environment),
        "priority": order.priority,
        "image_caching": True,
    }
    if order.registry_auth:
        container["registry_authentication"] = {"basic": dict(order.registry_auth)}
    request: Json = {
        "name": order.name,
        "display_name": order.display_name or order.name,
        "container": container,
        "replicas": order.replicas,
        "restart_policy": "always",
        "autostart_policy": True,
        "networking": {
            "protocol": "http",
            "port": PORT,
            "auth": False,  # a browser cannot send the key's header on a WebSocket: JupyterLab's password is the lock
            "single_connection_limit": False,  # every WebSocket counts as a connection
        },
        "startup_probe": _probe(startup(order.flavour)),
        "liveness_probe": _probe(liveness()),
        "readiness_probe": _probe(readiness()),
    }
    if order.country_codes:
        request["country_codes"] = list(order.country_codes)
    return request


def update_request(existing: Mapping[str, object], wanted: Mapping[str, object]) -> Json:
    """The merge patch that turns the group as read into the group as wanted; {} when nothing differs.

    Only fields that a PATCH may carry, and of those only what changes: an image sent again restarts nothing, but a
    patch is also what people read under --dry-run. Variables that the wanted group lacks stay: a merge patch could only
    remove them with null, which the schema does not allow. Taking back a country list is `null`.
    """
    patch: Json = {}
    for key in ("display_name", "replicas", "startup_probe", "liveness_probe", "readiness_probe"):
        if key in wanted and not _covers(existing.get(key), wanted[key]):
            patch[key] = wanted[key]
    countries, before = wanted.get("country_codes"), existing.get("country_codes") or None
    if sorted(_strings(countries)) != sorted(_strings(before)):
        patch["country_codes"] = countries or None
    networking = _mapping(wanted.get("networking"))
    if "port" in networking and _mapping(existing.get("networking")).get("port") != networking["port"]:
        patch["networking"] = {"port": networking["port"]}
    container = _difference(_mapping(existing.get("container")), _mapping(wanted.get("container")))
    if container:
        patch["container"] = container
    return patch


def restarting(patch: Mapping[str, object]) -> tuple[str, ...]:
    """The parts of a patch that restart every running replica at once (and with it the notebook)."""
    container = _mapping(patch.get("container"))
    parts = [f"container.{key}" for key in container if key != "resources"]
    parts += [key for key in ("networking", "startup_probe", "liveness_probe", "readiness_probe") if key in patch]
    return tuple(parts)


def moving(patch: Mapping[str, object]) -> bool:
    """Whether a patch may move replicas to other nodes (those that no longer match)."""
    return "resources" in _mapping(patch.get("container")) or "country_codes" in patch


def fixed_differences(existing: Mapping[str, object], wanted: Mapping[str, object]) -> tuple[str, ...]:
    """Gateway settings that differ and cannot be changed after creation."""
    before, after = _mapping(existing.get("networking")), _mapping(wanted.get("networking"))
    return tuple(
        key for key in ("auth", "single_connection_limit") if key in after and before.get(key, False) != after[key]
    )


_KEPT = (
    "name", "display_name", "container", "replicas", "restart_policy", "autostart_policy", "country_codes",
    "networking", "startup_probe", "liveness_probe", "readiness_probe", "queue_autoscaler", "queue_connection",
)  # fmt: skip
_KEPT_CONTAINER = (
    "command", "environment_variables", "image", "image_caching", "logging", "priority",
    "registry_authentication", "resources",
)  # fmt: skip


def request_from(group: Mapping[str, object]) -> Json:
    """A group as the API returns it -> the request that would create it again: no ids, states, times or nulls."""
    request = {key: group[key] for key in _KEPT if group.get(key) is not None}
    container = _mapping(group.get("container"))
    kept = {key: container[key] for key in _KEPT_CONTAINER if container.get(key) is not None}
    if "priority" not in kept and group.get("priority"):
        kept["priority"] = group["priority"]  # the read side shows it on the group
    request["container"] = _without_nulls(kept)
    if "networking" in request:
        networking = _mapping(request["networking"])
        request["networking"] = {key: value for key, value in networking.items() if key != "dns"}
    if not _strings(request.get("country_codes")):
        request.pop("country_codes", None)
    return _without_nulls(request)


def address_of(group: Mapping[str, object]) -> str:
    """https://… of the group's gateway, or "" when it has none."""
    dns = _mapping(group.get("networking")).get("dns")
    return f"https://{dns}" if dns else ""


def _pinned(image: str) -> bool:
    last = image.rsplit("/", 1)[-1]
    return "@" in last or (":" in last and not last.endswith(":latest"))


def _sizes(order: Order) -> tuple[int, int, int, int]:
    flavour = order.flavour
    return (
        order.cpus or flavour.cpus,
        order.memory_mb or flavour.memory_mb,
        order.storage_bytes or flavour.storage_bytes,
        order.shm_mb or flavour.shm_mb,
    )


def _probe(timing: Timing) -> Json:
    return {
        "http": {
            "path": timing.path,
            "port": PROBE_PORT,
            "scheme": "http",
            "headers": [{"name": "X-Probe", "value": "salad"}],  # the schema wants at least one
        },
        "initial_delay_seconds": timing.initial_delay_s,
        "period_seconds": timing.period_s,
        "timeout_seconds": timing.timeout_s,
        "success_threshold": 1,
        "failure_threshold": timing.failures,
    }


def _difference(before: Mapping[str, object], after: Mapping[str, object]) -> Json:
    """The part of `after` that `before` does not have, as a merge patch (lists are replaced whole)."""
    changed: Json = {}
    for key, value in after.items():
        if isinstance(value, Mapping) and isinstance(before.get(key), Mapping):
            inner = _difference(_mapping(before[key]), value)
            if inner:
                changed[key] = inner
        elif not _covers(before.get(key), value):
            changed[key] = value
    return changed


def _covers(before: object, after: object) -> bool:
    """Whether everything that `after` says already holds in `before` (which may hold defaults besides)."""
    if isinstance(after, Mapping):
        return isinstance(before, Mapping) and all(_covers(before.get(key), value) for key, value in after.items())
    if isinstance(after, list) and all(isinstance(item, str) for item in after):
        return sorted(_strings(before)) == sorted(after)
    return before == after


def _without_nulls(value: Mapping[str, object]) -> Json:
    return {
        key: _without_nulls(inner) if isinstance(inner, Mapping) else inner
        for key, inner in value.items()
        if inner is not None
    }


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: object) -> Sequence[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else []
