"""A real HTTP fake of Salad's metadata service: refuses what the real one refuses, records every call.

Faults are set per endpoint: a status code, a delay before the answer, a hang, or a cut connection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Call:
    """One request that reached the service, whether refused or not."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int  # what we answered; 0 = we cut or hung


@dataclass
class Fault:
    """What an endpoint does instead of answering well."""

    status: int | None = None
    delay_s: float = 0.0
    hang: bool = False  # never answers (until the service stops)
    cut: bool = False  # closes the connection without an answer
    body: bytes | None = None
    times: int | None = None  # how many calls it hits; None = all


@dataclass
class FakeImds:
    """The running service. `calls` holds everything that arrived, in order."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    deletion_cost: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, method: str, path: str, **how: Any) -> None:
        """Break one endpoint from now on."""
        self.faults[(method, path)] = Fault(**how)

    def posted(self, path: str) -> list[Call]:
        """The POSTs to `path` that arrived, whatever was answered."""
        with self.lock:
            return [call for call in self.calls if call.method == "POST" and call.path == path]

    @property
    def reallocations(self) -> list[str]:
        """The reasons of all reallocation requests that arrived."""
        return [str((call.body or {}).get("reason")) for call in self.posted("/v1/reallocate")]


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    imds: FakeImds

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        status, answer = self._answer(body)
        fault = self.imds.faults.get((self.command, self.path))
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times < 0:
                fault = None
        if fault is not None:
            if fault.hang or fault.cut:
                self._record(body, 0)
                if fault.hang:
                    self.imds.stopped.wait()
                self.close_connection = True
                return
            self.imds.stopped.wait(fault.delay_s)
            if fault.status is not None:
                status, answer = fault.status, {"title": "injected fault", "status": fault.status}
        self._record(body, status)
        content = b"" if answer is None else json.dumps(answer).encode()
        if fault is not None and fault.body is not None:
            content = fault.body
        try:
            self.send_response(status)
            if status != 204:
                kind = "application/json" if status < 400 else "application/problem+json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)
        except OSError:
            self.close_connection = True  # the client gave up waiting

    def _record(self, body: Any, status: int) -> None:
        with self.imds.lock:
            self.imds.calls.append(Call(self.command, self.path, dict(self.headers.items()), body, status))

    def _answer(self, body: Any) -> tuple[int, dict[str, Any] | None]:
        if self.headers.get("Metadata") != "true":
            return 403, {"title": "Forbidden", "detail": "the Metadata header is missing"}
        if any(name.lower().startswith("x-forwarded-") for name in self.headers):
            return 403, {"title": "Forbidden", "detail": "forwarded requests are refused"}
        match (self.command, self.path):
            case ("GET", "/v1/status"):
                return 200, {"ready": self.imds.ready, "started": self.imds.started}
            case ("GET", "/v1/token"):
                return 200, {"jwt": "e30.e30.e30"}
            case ("GET", "/v1/deletion-cost"):
                return 200, {"deletion_cost": self.imds.deletion_cost}
            case ("PUT", "/v1/deletion-cost"):
                cost = body.get("deletion_cost") if isinstance(body, dict) else None
                if not isinstance(cost, int) or not -(2**31) <= cost < 2**31:
                    return 400, {"title": "Bad Request", "detail": "deletion_cost must be an int32"}
                self.imds.deletion_cost = cost
                return 204, None
            case ("POST", "/v1/reallocate"):
                reason = body.get("reason") if isinstance(body, dict) else None
                if not isinstance(reason, str) or not 1 <= len(reason) <= 1000:
                    return 400, {"title": "Bad Request", "detail": "reason must have 1 to 1000 characters"}
                return 204, None
            case ("POST", "/v1/restart" | "/v1/recreate"):
                return 204, None
        return 404, {"title": "Not Found"}


@contextmanager
def fake_imds() -> Iterator[FakeImds]:
    """The service on a free port of 127.0.0.1 while the block runs."""
    imds = FakeImds()
    endpoint = type("Endpoint", (_Endpoint,), {"imds": imds})
    server = ThreadingHTTPServer(("127.0.0.1", 0), endpoint)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    imds.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield imds
    finally:
        imds.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
