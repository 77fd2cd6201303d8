"""Gongji's deployment tasks as pure data.

Its probes follow Kubernetes: a failed startup or liveness probe restarts the container in place; a failed readiness
probe *replaces the node*, and what that node had not saved is gone. So the readiness
probe is off: a long restore or a restarting JupyterLab must never cost the node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from preflight.deploy.errors import BadOrder
from preflight.deploy.flavours import Flavour
from preflight.deploy.probes import PROBE_PORT, Timing, liveness, readiness, startup

Json = dict[str, object]
PORT = 8000


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to run on Gongji. `resource` is one entry of the resource list (see `choose`)."""

    name: str
    image: str
    flavour: Flavour
    resource: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)
    registry_user: str = ""
    registry_password: str = ""


def choose(results: Sequence[Mapping[str, object]], device: str, region: str = "") -> Json:
    """The cheapest entry in stock for a device name ("4090", "H20 x 8"), as `resources[]` of a task wants it.

    Raises BadOrder with what there is instead.
    """
    stock: list[tuple[float, Json]] = []
    names = set()
    for result in results:
        for place in _mappings(result.get("regions")):
            label = f"{result.get('device_name')} in {place.get('region_name')} ({place.get('region')})"
            if not _number(place.get("inventory")) > 0:
                continue
            names.add(label)
            here = not region or region in (place.get("region"), place.get("region_name"))
            if str(result.get("device_name", "")).lower() == device.lower() and here:
                mark = _mapping(place.get("mark"))
                entry: Json = {
                    "mark": mark.get("mark"),
                    "resource": mark.get("resource"),
                    "region_name": place.get("region_name"),
                }
                stock.append((_number(place.get("discount_price") or place.get("price")), entry))
    if not stock:
        where = f" in {region}" if region else ""
        raise BadOrder([f"no {device} in stock{where}; there is: {'; '.join(sorted(names)) or 'nothing'}"])
    return min(stock, key=lambda pair: pair[0])[1]


def create_request(order: Order) -> Json:
    """The body of POST /api/deployment/task/create. Raises BadOrder with all faults at once."""
    problems = [f"{name}: a line break cannot be sent" for name, value in order.environment.items() if "\n" in value]
    if not order.name:
        problems.append("name: empty")
    if not order.image:
        problems.append("image: empty")
    if not isinstance(order.resource.get("mark"), str):
        problems.append("resource: without a mark (take it from the resource list)")
    if bool(order.registry_user) != bool(order.registry_password):
        problems.append("registry: user and password belong together")
    if problems:
        raise BadOrder(problems)
    request: Json = {
        "task_type": "Deployment",
        "task_name": order.name,
        "points": 1,  # one writer for one folder
        "resources": [dict(order.resource)],
        "services": [
            {
                "service_name": "preflight-lab",
                "service_image": order.image,
                "env": environment_text(order.environment),
                "remote_ports": [{"service_port": PORT}],
                "health_checks": health_checks(order.flavour),
                "start_script_v2": {"command": None, "args": []},
            }
        ],
    }
    if order.registry_user:
        request |= {"repository_username": order.registry_user, "repository_password": order.registry_password}
    return request


def update_request(detail: Mapping[str, object], wanted: Mapping[str, object]) -> Json:
    """The body of POST /api/deployment/task/update: the whole task as read, with what is wanted put in.

    The API overwrites everything, and says to send back exactly what the detail call returned: fields that we do not
    know stay as they are. Registry credentials cannot be changed after creation.
    """
    request: Json = {**detail, "resources": wanted["resources"], "points": wanted["points"]}
    before = _mappings(detail.get("services"))
    service = {**(before[0] if before else {}), **_mappings(wanted["services"])[0]}
    urls = {port.get("service_port"): port for port in _mappings((before[0] if before else {}).get("remote_ports"))}
    service["remote_ports"] = [
        {**urls.get(port["service_port"], {}), **port} for port in _mappings(service["remote_ports"])
    ]
    request["services"] = [service, *before[1:]]
    return request


def request_from(detail: Mapping[str, object]) -> Json:
    """A task as read -> the request that would create it again: no ids, states, prices or addresses."""
    kept = (
        "task_type",
        "task_name",
        "points",
        "resources",
        "load_balance",
        "scheduler_strategy",
        "task_qos",
        "dynamic_pod_strategy",
    )
    request: Json = {key: detail[key] for key in kept if detail.get(key) is not None}
    services = []
    for service in _mappings(detail.get("services")):
        copy = {key: value for key, value in service.items() if key != "service_id" and value is not None}
        copy["remote_ports"] = [
            {"service_port": port.get("service_port")} for port in _mappings(service.get("remote_ports"))
        ]
        services.append(copy)
    request["services"] = services
    return request


def health_checks(flavour: Flavour) -> Json:
    """All three probes: the API wants each of them, with a switch."""
    return {
        "startup_probe": _probe(startup(flavour), switch=True),
        "liveness_probe": _probe(liveness(), switch=True),
        "readiness_probe": _probe(readiness(), switch=False),
    }


def environment_text(variables: Mapping[str, str]) -> str | None:
    """The task's `env`: one NAME=VALUE a line, or None."""
    return "\n".join(f"{name}={value}" for name, value in variables.items()) or None


def environment_from(text: object) -> dict[str, str]:
    """The reverse of `environment_text`; lines without "=" are left out."""
    lines = text.splitlines() if isinstance(text, str) else []
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


def address_of(detail: Mapping[str, object]) -> str:
    """The first service address that the platform gave, or ""."""
    for service in _mappings(detail.get("services")):
        for port in _mappings(service.get("remote_ports")):
            if port.get("service_port") == PORT and port.get("url"):
                return str(port["url"])
    return ""


def _probe(timing: Timing, *, switch: bool) -> Json:
    return {
        "switch": switch,
        "probe_type": "httpGet",
        "path": timing.path,
        "port": PROBE_PORT,
        "initial_delay_seconds": timing.initial_delay_s,
        "period_seconds": timing.period_s,
        "timeout_seconds": timing.timeout_s,
        "failure_threshold": timing.failures,
    }


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
