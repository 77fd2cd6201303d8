"""Gongji's Open API as a real HTTP server: documented bodies only, 200 with a code for every failure of its own."""

from __future__ import annotations

import base64
import copy
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

from tests.support.salad_schema import closed, text, whole

Json = dict[str, Any]

PROBE = closed(
    {
        "switch": {"type": "boolean"},
        "probe_type": {"enum": ["httpGet", "tcpSocket"]},
        "path": text(1, 2048),
        "port": whole(1, 65535),
        "initial_delay_seconds": whole(0, 100000),
        "period_seconds": whole(1, 100000),
        "timeout_seconds": whole(1, 100000),
        "failure_threshold": whole(1, 100000),
    },
    "switch", "probe_type", "path", "port", "initial_delay_seconds", "period_seconds",
    "timeout_seconds", "failure_threshold",
)  # fmt: skip
SERVICE = closed(
    {
        "service_id": {"type": "integer"},
        "service_name": text(1, 255),
        "service_image": text(1, 1024),
        "env": {"type": ["string", "null"]},
        "shared_mem_size": {"type": ["number", "null"]},
        "storage_config": {"type": ["array", "null"]},
        "remote_ports": {
            "type": "array",
            "items": closed({"service_port": whole(1, 65535), "url": {"type": ["string", "null"]}}, "service_port"),
        },
        "health_checks": closed(
            {"liveness_probe": PROBE, "startup_probe": PROBE, "readiness_probe": PROBE},
            "liveness_probe", "startup_probe", "readiness_probe",
        ),
        "start_script_v2": closed({"command": {"type": ["string", "null"]}, "args": {"type": "array"}}, "args"),
    },
    "service_name", "service_image", "remote_ports",
)  # fmt: skip
TASK = {
    "task_type": {"const": "Deployment"},
    "task_name": text(1, 255),
    "repository_username": {"type": ["string", "null"]},
    "repository_password": {"type": ["string", "null"]},
    "points": whole(1, 1000),
    "resources": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object", "required": ["mark"],
            "properties": {"mark": text(1, 4000), "resource": {"type": "object"}},
        },
    },
    "services": {"type": "array", "items": SERVICE, "minItems": 1},
}  # fmt: skip
CREATE = closed(TASK, "task_name", "resources", "services")


def place(device: str, region: str, price: int, inventory: int) -> Json:
    resource = {
        "device_name": device, "region": region, "gpu_name": device, "gpu_count": 1,
        "gpu_memory": 24560, "memory": 64512, "cpu_cores": 16,
    }  # fmt: skip
    return {
        "region": region, "region_name": f"{region} 一区", "price": price,
        "discount_price": price, "inventory": inventory,
        "mark": {"resource": resource, "mark": f"mark-{device}-{region}"},
    }  # fmt: skip


STOCK = [
    {"device_name": "4090", "regions": [
        place("4090", "beijing", 198, 3), place("4090", "hebei", 168, 5), place("4090", "cheap", 1, 0),
    ]},
    {"device_name": "H20 x 8", "regions": [place("H20 x 8", "hebei", 16416, 0)]},
]  # fmt: skip


@dataclass
class GongjiApi:
    """The state of the fake. `public_key`: then every request must be signed for it."""

    token: str = "t-1"
    public_key: Any = None
    tasks: dict[int, Json] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    planned: list[tuple[int, bytes]] = field(default_factory=list)
    url: str = ""
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> GongjiApi:
        fake = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args: object) -> None:
                pass

            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body = fake._answer(self.command, self.path, dict(self.headers), raw)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._server
        self._server.shutdown()
        self._server.server_close()

    def bodies(self, path: str) -> list[Any]:
        return [body for _method, asked, body in self.requests if asked == path]

    def _answer(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> tuple[int, bytes]:
        parts = urlsplit(target)
        body = json.loads(raw) if raw else None
        self.requests.append((method, parts.path, body))
        if self.planned:
            return self.planned.pop(0)
        if headers.get("version") != "1.0.0" or not headers.get("timestamp", "").isdigit():
            return said("1001", "header 参数错误")
        if headers.get("token") != self.token:
            return said("1002", "token 无效")
        if self.public_key is not None and not self._signed(target, headers, raw):
            return said("1003", "签名错误")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        try:
            return self._act(method, parts.path, query, body)
        except (jsonschema.ValidationError, KeyError) as error:
            return said("2001", f"参数错误 {error}"[:300])

    def _signed(self, target: str, headers: dict[str, str], raw: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        text_ = "\n".join((target, headers["version"], headers["timestamp"], headers["token"], raw.decode()))
        try:
            signature = base64.b64decode(headers.get("sign_str", ""))
            self.public_key.verify(signature, text_.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _act(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, bytes]:
        match method, path:
            case "GET", "/api/deployment/resource/search":
                return said("0000", "success", {"count": len(STOCK), "results": STOCK})
            case "GET", "/api/deployment/task/search":
                assert query["type"] == "Deployment"
                found = [task for task in self.tasks.values() if query.get("search_value", "") in task["task_name"]]
                return said("0000", "success", {"count": len(found), "results": found})
            case "GET", "/api/deployment/task/detail":
                return said("0000", "success", self.tasks[int(query["task_id"])])
            case "POST", "/api/deployment/task/create":
                jsonschema.validate(body, CREATE)
                return said("0000", "success", {"task_id": self._add(body)})
            case "POST", "/api/deployment/task/update":
                task_id = body["task_id"]
                # "The body must have exactly the structure that the detail call returned."
                if set(body) != set(self.tasks[task_id]):
                    return said("2002", "任务配置不完整")
                self.tasks[task_id] = copy.deepcopy(body)
                return said("0000", "success")
        return 404, b"<html><title>404 page not found</title></html>"

    def _add(self, body: Json) -> int:
        task_id = 1229831 + len(self.tasks)
        task = {key: value for key, value in copy.deepcopy(body).items() if not key.startswith("repository_")}
        task |= {"task_id": task_id, "status": "Running", "runing_points": 1, "billing_value": 0, "load_balance": None}
        for service in task["services"]:
            service["service_id"] = 77
            for port in service["remote_ports"]:
                port["url"] = f"https://deployment-5-8vxr7frs-{port['service_port']}.550w.link"
        self.tasks[task_id] = task
        return task_id


def said(code: str, message: str, data: object = None) -> tuple[int, bytes]:
    return 200, json.dumps({"code": code, "message": message, "data": data}, ensure_ascii=False).encode()
