"""The probe port and the waiting page: answers from the board, on threads of their own, over IPv4 and IPv6."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from preflight import probes
from preflight.board import Board

log = logging.getLogger(__name__)
CONNECTION_DEADLINE_S = 10.0  # a client that says nothing holds a thread no longer than this
MOST_CONNECTIONS = 64


class PortTaken(Exception):
    """Somebody else listens on this port."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    content_type: str
    body: bytes

    @classmethod
    def text(cls, status: int, body: str) -> Reply:
        """Plain text."""
        return cls(status, "text/plain; charset=utf-8", body.encode())

    @classmethod
    def json(cls, status: int, document: object, content_type: str = "application/json") -> Reply:
        """A JSON document; what JSON cannot hold becomes text."""
        return cls(status, content_type, json.dumps(document, default=str).encode())


Route = Callable[[str, Mapping[str, str], str], Reply]  # path, query, Accept -> reply


class Listener(ThreadingHTTPServer):
    """One port, both address families, a bounded number of threads."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, route: Route) -> None:
        self.route = route
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if socket.has_ipv6 and _ipv6_works() else socket.AF_INET
        try:
            super().__init__(("::" if self.address_family == socket.AF_INET6 else "", port), _Request)
        except OSError as taken:
            raise PortTaken(f"port {port} is taken: {taken.strerror or taken}") from taken
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.5,), name=f"port-{self.port}", daemon=True)
        self._thread.start()

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: it asks DNS for our own name, which can take seconds.
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a probe's connection broke", exc_info=True)

    def stop(self) -> None:
        """Free the port; returns when it is free."""
        self.shutdown()
        self.server_close()


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
        return True
    except OSError:
        return False


class _Request(BaseHTTPRequestHandler):
    server: Listener
    timeout = CONNECTION_DEADLINE_S
    server_version = "preflight"
    sys_version = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        reply = self.server.route(parts.path, query, self.headers.get("Accept", ""))
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
        )
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every second: silence."""


def probe_routes(board: Board, metrics: Callable[[str], tuple[str, bytes]], page: Callable[[], bytes]) -> Route:
    """Everything the probe port serves."""

    def route(path: str, query: Mapping[str, str], accept: str) -> Reply:
        kind, _, name = path.strip("/").partition("/")
        kind = "readyz" if kind == "healthz" else kind
        if kind in probes.KINDS:
            return _probe(board, kind, name, query, accept)
        if kind == "health" and name in probes.MICROPROFILE:
            answer = board.answer(probes.MICROPROFILE[name])
            return Reply.json(200 if answer.ok else 503, probes.microprofile(answer))
        match path:
            case "/metrics":
                return Reply(200, *metrics(accept))
            case "/report":
                report = probes.report_document(board)
                return Reply.json(200 if report else 503, report or {"error": "the checks have not finished"})
            case "/sync":
                return Reply.json(200, probes.sync_document(board))
            case _:
                return page_route(board, page)(path, query, accept)

    return route


def page_route(board: Board, page: Callable[[], bytes]) -> Route:
    """The page for people and what it shows; also alone on JupyterLab's port until that is there."""

    def route(path: str, query: Mapping[str, str], accept: str) -> Reply:
        if path == "/page.json":
            return Reply.json(200, probes.page_document(board))
        if path == "/api":
            return Reply.json(503, {"starting": True})  # JupyterLab's own answer is a version
        if path == "/" or "text/html" in accept:
            return Reply(200, "text/html; charset=utf-8", page())
        return Reply.text(404, "there is no such page here\n")

    return route


def _probe(board: Board, kind: str, name: str, query: Mapping[str, str], accept: str) -> Reply:
    answer = board.answer(kind)
    if kind == "readyz" and query.get("page") and not answer.ok:
        answer = probes.page_counts(board, answer)
    answer = probes.narrowed(answer, name, exclude=query.get("exclude", ""), strict=bool(query.get("strict")))
    if name and not answer.lines:
        return Reply.text(404, f"{kind} has no check named {name}\n")
    status = 200 if answer.ok else 503
    if "application/health+json" in accept:
        return Reply.json(status, probes.health_json(board, answer), "application/health+json")
    verbose = "verbose" in query or not answer.ok or bool(name)
    return Reply.text(status, probes.verbose_text(kind, answer) if verbose else "ok\n")
