"""A TCP relay that counts HTTP requests by verb: what the provider would bill, whoever the client is."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from urllib.parse import unquote

_REQUEST = re.compile(rb"(GET|PUT|POST|HEAD|DELETE) (/[^ ]*) HTTP/1\.[01]\r\n")


class CountingRelay:
    """Relay to `host:port`; `counts()` tells requests by verb since the last `reset()`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def counts(self) -> dict[str, int]:
        """Requests by kind: a GET with a list query is LIST."""
        with self._lock:
            return dict(self._counts)

    def reset(self) -> None:
        """Start counting from zero."""
        with self._lock:
            self._counts.clear()

    def close(self) -> None:
        """Stop accepting."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, requests: bool) -> None:
        tail = b""
        try:
            while chunk := source.recv(1 << 16):
                if requests:
                    tail = self._observe(tail + chunk)
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def _observe(self, seen: bytes) -> bytes:
        end = 0
        for match in _REQUEST.finditer(seen):
            verb, path = match[1].decode(), unquote(match[2].decode("latin-1"))
            kind = "LIST" if verb == "GET" and ("list-type=" in path or "prefix=" in path) else verb
            with self._lock:
                self._counts[kind] += 1
            end = match.end()
        return seen[max(end, len(seen) - 2048) :]
