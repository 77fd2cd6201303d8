"""Salad's public API as a real HTTP server that holds every request against the documented schema, or fails."""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema

from tests.support.salad_schema import CREATE, INSTANCE_UPDATE, UPDATE

Json = dict[str, Any]
GPU_CLASSES = {
    "RTX 3090 (24 GB)": "a5db5c50-cbcb-4596-ae80-6a0c8090d80f",
    "RTX 4090 (24 GB)": "ed563892-aacd-40f5-80b7-90c9be6c759b",
    "RTX 4070 Ti (12 GB)": "de00c90b-904b-4d9e-8fc9-1d9a08eb0932",
    "RTX 4070 Ti Super (16 GB)": "f1380143-51cd-4bad-80cb-1f86ee6b49fe",
    "RTX 3060 (12 GB)": "f51baccc-dc95-40fb-a5d1-6d0ee0db31d2",
    "RTX 3060 (8 GB)": "00000000-0000-4000-8000-000000003060",
}


@dataclass
class Answer:
    """What to say in place of the true answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/problem+json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class SaladApi:
    """The state of the fake. `requests` holds (method, path, content type, body) in order."""

    key: str = "k-1"
    groups: dict[str, Json] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)  # names of deleted groups are not given out again
    instances: dict[str, list[Json]] = field(default_factory=dict)
    requests: list[tuple[str, str, str, Any]] = field(default_factory=list)
    planned: list[Answer] = field(default_factory=list)  # given first, one a request
    on_instances: Callable[[str], None] = lambda _name: None  # called before each look at a group's instances
    url: str = ""
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> SaladApi:
        fake = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = fake._answer(self.command, self.path, dict(self.headers), body)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/public"
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._server
        self._server.shutdown()
        self._server.server_close()

    def bodies(self, method: str) -> list[Any]:
        """The bodies of all requests of a method."""
        return [body for verb, _path, _type, body in self.requests if verb == method]

    def add_instance(self, group: str, state: str = "running", *, started: bool = False, ready: bool = False) -> Json:
        instance = {
            "id": str(uuid.uuid4()), "machine_id": str(uuid.uuid4()), "state": state,
            "started": started, "ready": ready, "version": 1, "update_time": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        self.instances.setdefault(group, []).append(instance)
        return instance

    def _answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Answer:
        body = json.loads(raw) if raw else None
        content_type = headers.get("Content-Type", "")
        self.requests.append((method, path, content_type, body))
        if self.planned:
            return self.planned.pop(0)
        if headers.get("Salad-Api-Key") != self.key:
            return problem(403, "Forbidden", "the key may not do this")
        prefix = "/api/public/organizations/acme"
        if path == f"{prefix}/gpu-classes" and method == "GET":
            prices = [{"priority": "high", "price": "0.1"}]
            return good(
                200, {"items": [{"id": id_, "name": name, "prices": prices} for name, id_ in GPU_CLASSES.items()]}
            )
        groups = f"{prefix}/projects/lab/containers"
        if not path.startswith(groups):
            return problem(404, "Not Found", "no such organization or project")
        parts = path.removeprefix(groups).strip("/").split("/")
        try:
            if method == "POST" and parts == [""]:
                assert content_type == "application/json"
                return self._create(body)
            if parts[0] not in self.groups:
                return problem(404, "Not Found", "The container group could not be found.")
            return self._on_group(method, parts, body, content_type)
        except (jsonschema.ValidationError, AssertionError) as error:
            return problem(400, "Bad Request", f"not by the schema: {error}"[:900])

    def _create(self, body: Json) -> Answer:
        jsonschema.validate(body, CREATE)
        if body["name"] in self.groups or body["name"] in self.retired:
            return problem(400, "Bad Request", "A container group with this name already exists.")
        group = copy.deepcopy(body)
        group["networking"]["dns"] = f"{body['name']}-apricot.salad.cloud"
        group["networking"].setdefault("load_balancer", "round_robin")
        group |= {
            "id": str(uuid.uuid4()), "version": 1, "priority": body["container"].get("priority"), "readme": None,
            "queue_connection": None, "pending_change": False, "create_time": "2026-01-01T00:00:00Z",
            "current_state": {"status": "deploying", "instance_status_counts": {}},
        }  # fmt: skip
        group["container"].pop("registry_authentication", None)  # write-only
        self.groups[body["name"]] = group
        return good(201, group)

    def _on_group(self, method: str, parts: list[str], body: Any, content_type: str) -> Answer:
        name = parts[0]
        if parts[1:] == []:
            if method == "PATCH":
                assert content_type == "application/merge-patch+json"
                jsonschema.validate(body, UPDATE)
                merge(self.groups[name], body)
                if "replicas" in body:
                    self._shrink(name, body["replicas"])
            return good(200, self.groups[name])
        if parts[1:] == ["instances"] and method == "GET":
            self.on_instances(name)
            return good(200, {"instances": self.instances.get(name, [])})
        instance = next(item for item in self.instances[name] if item["id"] == parts[2])
        if method == "PATCH" and len(parts) == 3:
            assert content_type == "application/merge-patch+json"
            jsonschema.validate(body, INSTANCE_UPDATE)
            instance["deletion_cost"] = body["deletion_cost"]
            return good(200, instance)
        if method == "POST" and parts[3:] == ["restart"]:
            return Answer(202)
        return problem(404, "Not Found", "")

    def _shrink(self, name: str, count: int) -> None:
        kept = sorted(self.instances.get(name, []), key=lambda item: -item.get("deletion_cost", 0))
        self.instances[name] = kept[:count]


def good(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode(), "application/json")


def problem(status: int, title: str, detail: str) -> Answer:
    return Answer(status, json.dumps({"title": title, "status": status, "detail": detail}).encode())


def page(status: int, title: str, **headers: str) -> Answer:
    """A proxy's error page."""
    html = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>oops</h1></body></html>"
    return Answer(
        status, html.encode(), "text/html", {name.replace("_", "-"): value for name, value in headers.items()}
    )


def merge(target: Json, patch: Json) -> None:
    """RFC 7396."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
