"""Commands to the running child: one JSON object a line each way, over a socket that only this user can open."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sync.errors import Transient

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 1024 * 1024


def socket_path(state_dir: Path) -> Path:
    """Where the child listens."""
    return state_dir / "sync" / "control.sock"


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address of at most 108 bytes (the kernel's limit) for a socket in a folder of any depth."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def call(state_dir: Path, request: dict[str, object], timeout_s: float) -> dict[str, Any]:
    """The child's answer to one request such as `{"cmd": "flush", "timeout_s": 20}`.

    Raises:
        Transient: nobody listens, or no answer came within `timeout_s`.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            with _address(socket_path(state_dir)) as address:
                link.connect(address)
            link.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(link))
    except (OSError, ValueError) as error:
        raise Transient(
            "The sync process did not answer",
            where=str(socket_path(state_dir)),
            hint="is `preflight-sync run` running?",
        ) from error
    return dict(answer)


def is_running(state_dir: Path) -> bool:
    """Whether a child answers on the socket right now."""
    try:
        call(state_dir, {"cmd": "ping"}, timeout_s=2.0)
    except Transient:
        return False
    return True


class ControlServer:
    """Accepts requests and answers each with `answer(request)`, one thread a connection."""

    def __init__(self, state_dir: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._path = socket_path(state_dir)
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name="sync-control", daemon=True)

    def start(self) -> None:
        """Listen; a socket file left by a dead child is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        with _address(self._path) as address:
            self._socket.bind(address)
        self._path.chmod(0o600)
        self._socket.listen(8)
        self._thread.start()

    def stop(self) -> None:
        """Close the socket and remove its file."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), name="sync-command", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link:
            link.settimeout(3600.0)
            try:
                request = json.loads(_line(link))
                if not isinstance(request, dict):
                    raise ValueError("not an object")
                reply = self._answer(request)
            except ValueError as error:
                reply = {"ok": False, "why": f"The request is not one JSON object a line: {error}"}
            except OSError:
                return
            with contextlib.suppress(OSError):
                link.sendall(json.dumps(reply).encode() + b"\n")


def _line(link: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        piece = link.recv(65_536)
        if not piece:
            raise ValueError("the connection ended early")
        received += piece
        if len(received) > MAX_LINE_BYTES:
            raise ValueError("the line is too long")
    return bytes(received)
