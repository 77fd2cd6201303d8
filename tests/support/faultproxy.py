"""A TCP proxy that misbehaves on request: between a client and a real server, per direction and counted.

    with FaultProxy(server_port) as proxy:
        proxy.faults = Faults(cut_after_bytes=1000, times=2)

Faults apply to connections and requests that begin after they were set; `times` limits how many they hit.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from types import TracebackType

PIECE_S = 0.04  # a slow line carries a packet now and then; more often would be a busy machine


@dataclass(frozen=True)
class Faults:
    """What to do to the traffic. The default is nothing."""

    latency_s: float = 0.0  # before each piece towards the client
    bytes_per_s: float | None = None  # towards the client
    cut_after_bytes: int | None = None  # close towards the client after this many bytes of a connection
    reset_after_bytes: int | None = None  # the same, by RST
    swallow_answer: bool = False  # the server gets the request, the client never gets the answer: closed
    hold_answer: bool = False  # the same, and the client waits for it until the connections are dropped
    hang: bool = False  # accept, forward nothing, answer nothing
    refuse: bool = False  # close at once
    answer: bytes | None = None  # this whole HTTP answer instead of the server's
    flip_bit_at: int | None = None  # offset in a connection's bytes towards the client
    when: bytes = b""  # only requests whose first bytes start with this (b"PUT ", b"GET ")
    times: int = 1 << 30
    after: int = 0  # requests that go through before the first hit


@dataclass
class FaultProxy:
    """Listens on a free port and forwards to `target` on 127.0.0.1."""

    target: int
    faults: Faults = field(default_factory=Faults)
    hits: int = 0

    def __enter__(self) -> FaultProxy:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(timeout=10)

    @property
    def url(self) -> str:
        """The endpoint to give to a client."""
        return f"http://127.0.0.1:{self.port}"

    def drop_all(self) -> None:
        """Cut every connection now."""
        with self._lock:
            held = list(self._open)
        for one in held:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Behave from now on; connections under a fault are cut."""
        self.faults = Faults()
        self.drop_all()

    def _spawn(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _take(self, first: bytes) -> Faults:
        """The faults for a request that starts with `first`, counting them down."""
        with self._lock:
            now = self.faults
            if now == Faults() or not first.startswith(now.when) or now.times <= 0:
                return Faults()
            if now.after > 0:
                self.faults = replace(now, after=now.after - 1)
                return Faults()
            self.faults = replace(now, times=now.times - 1)
            self.hits += 1
            return now

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            faults = Faults()
            while True:
                piece = client.recv(65536)
                if not piece:
                    return
                if _starts_request(piece):
                    faults = self._take(piece)
                if faults.refuse:
                    return
                if faults.hang:
                    client.recv(1) if not _wait_closed(client) else None
                    return
                if faults.answer is not None:
                    _drain(client, piece)
                    client.sendall(faults.answer)
                    return
                if server is None:
                    server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
                    server.settimeout(None)
                    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._lock:
                        self._open.add(server)
                    current = [faults]
                    self._spawn(self._back, server, client, current)
                current[0] = faults
                server.sendall(piece)
        except OSError:
            return
        finally:
            self._close(client)
            if server is not None:
                self._close(server)

    def _back(self, server: socket.socket, client: socket.socket, current: list[Faults]) -> None:
        sent = 0
        try:
            while piece := server.recv(65536):
                faults = current[0]
                if faults.swallow_answer:
                    return
                if faults.hold_answer:
                    continue
                if faults.latency_s:
                    time.sleep(faults.latency_s)
                if faults.flip_bit_at is not None and sent <= faults.flip_bit_at < sent + len(piece):
                    at = faults.flip_bit_at - sent
                    piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
                for limit, reset in ((faults.cut_after_bytes, False), (faults.reset_after_bytes, True)):
                    if limit is not None and sent + len(piece) > limit:
                        client.sendall(piece[: max(0, limit - sent)])
                        if reset:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                if faults.bytes_per_s is not None:
                    step = max(1, int(faults.bytes_per_s * PIECE_S))
                    for at in range(0, len(piece), step):
                        chunk = piece[at : at + step]
                        client.sendall(chunk)
                        time.sleep(len(chunk) / faults.bytes_per_s)  # a header takes a header's time, not a packet's
                else:
                    client.sendall(piece)
                sent += len(piece)
        except OSError:
            return
        finally:
            self._close(client)
            self._close(server)

    def _close(self, one: socket.socket) -> None:
        with self._lock:
            self._open.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def _starts_request(piece: bytes) -> bool:
    return piece.split(b" ", 1)[0] in {b"GET", b"PUT", b"POST", b"HEAD", b"DELETE"}


def _wait_closed(client: socket.socket) -> bool:
    while client.recv(65536):
        pass
    return True


def _drain(client: socket.socket, first: bytes) -> None:
    """Read the rest of the request, so that the answer is not cut off by unread input."""
    head, mark, body = first.partition(b"\r\n\r\n")
    while not mark:
        head, mark, body = (head + client.recv(65536)).partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if b"100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < length:
        more = client.recv(65536)
        if not more:
            return
        body += more
