"""Salad's public API as JSON schemas: the documented fields, patterns and limits of what a deployment sends."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def text(low: int, high: int, pattern: str = "") -> Schema:
    return {"type": "string", "minLength": low, "maxLength": high} | ({"pattern": pattern} if pattern else {})


def closed(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


NAME = text(2, 63, r"^[a-z][a-z0-9-]{0,61}[a-z0-9]$")
DISPLAY_NAME = text(2, 63, r"^[ ,-.0-9A-Za-z]+$")
COUNTRIES = {
    "type": ["array", "null"], "items": text(2, 2, "^[a-z]{2}$"), "minItems": 1, "maxItems": 500,
}  # fmt: skip
HTTP = closed(
    {
        "path": text(1, 2048),
        "port": whole(0, 65535),
        "scheme": {"enum": ["http", "https"]},
        "headers": {
            "type": "array",
            "items": closed({"name": text(1, 256), "value": text(1, 1024)}, "name", "value"),
            "minItems": 1,
            "maxItems": 50,
        },
    },
    "path", "port", "scheme", "headers",
)  # fmt: skip
EXEC = closed({"command": {"type": "array", "items": text(1, 2048), "minItems": 1, "maxItems": 100}}, "command")
_NUMBERS = {
    "initial_delay_seconds": whole(0, 1200),
    "period_seconds": whole(1, 120),
    "timeout_seconds": whole(1, 60),
    "success_threshold": whole(1, 10),
    "failure_threshold": whole(1, 20),
}
PROBE = closed({"http": HTTP, "exec": EXEC, **_NUMBERS}, *_NUMBERS)
ENVIRONMENT = {"type": "object", "additionalProperties": text(1, 1000, r"^.*$")}
RESOURCES = {
    "cpu": whole(1, 16),
    "memory": whole(1024, 61440),
    "gpu_classes": {"type": "array", "items": text(36, 36, r"^[0-9a-f-]{36}$"), "maxItems": 100},
    "storage_amount": whole(1073741824, 268435456000),
    "shm_size": whole(64, 1073741824),
}
BASIC = closed({"basic": closed({"username": text(1, 10000), "password": text(1, 10000)}, "username", "password")})
CONTAINER = {
    "command": {"type": "array", "items": text(1, 1000), "maxItems": 100},
    "environment_variables": ENVIRONMENT,
    "image": text(1, 1024),
    "image_caching": {"type": "boolean"},
    "priority": {"enum": ["high", "medium", "low", "batch"]},
    "registry_authentication": BASIC,
}
PROBES = {"startup_probe": PROBE, "liveness_probe": PROBE, "readiness_probe": PROBE}

CREATE = closed(
    {
        "name": NAME,
        "display_name": DISPLAY_NAME,
        "container": closed({**CONTAINER, "resources": closed(RESOURCES, "cpu", "memory")}, "image", "resources"),
        "replicas": whole(0, 500),
        "restart_policy": {"enum": ["always", "on_failure", "never"]},
        "autostart_policy": {"type": "boolean"},
        "country_codes": {**COUNTRIES, "type": "array"},
        "networking": closed(
            {
                "protocol": {"const": "http"},
                "port": whole(1, 65535),
                "auth": {"type": "boolean"},
                "load_balancer": {"enum": ["round_robin", "least_number_of_connections"]},
                "single_connection_limit": {"type": "boolean"},
                "client_request_timeout": whole(1, 100000),
                "server_response_timeout": whole(1, 100000),
            },
            "protocol", "port", "auth",
        ),
        **PROBES,
    },
    "name", "container", "replicas", "restart_policy", "autostart_policy",
)  # fmt: skip
UPDATE = closed(
    {
        "display_name": DISPLAY_NAME,
        "container": closed({**CONTAINER, "resources": closed(RESOURCES)}),
        "replicas": whole(0, 500),
        "country_codes": COUNTRIES,
        "networking": closed({"port": whole(1, 65535)}),
        **PROBES,
    }
)
INSTANCE_UPDATE = closed({"deletion_cost": whole(0, 100000)})
