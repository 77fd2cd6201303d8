"""One JSON object a line over a unix socket of any depth: how the pieces of one node speak to each other."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_BYTES = 4 * 1024 * 1024


class NoAnswer(Exception):
    """Nobody listens, or no answer came in time. The text is a sentence for people."""


def ask(path: Path, request: dict[str, object], timeout_s: float) -> dict[str, Any]:
    """The answer to one request. Raises NoAnswer."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as absent:
        raise NoAnswer(f"nobody listens at {path.name}") from absent
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(f"/proc/self/fd/{folder}/{path.name}")  # a path may be longer than the 107 bytes of a socket's
            link.sendall(json.dumps(request).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer = json.loads(lines.readline(MOST_BYTES))
    except (OSError, ValueError) as failed:
        raise NoAnswer(f"no answer from {path.name}: {failed}") from failed
    finally:
        os.close(folder)
    if not isinstance(answer, dict):
        raise NoAnswer(f"{path.name} answered something that is not an object")
    return answer


class Listener:
    """Answers each line with `answer(request)`, one thread a connection."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._path = path
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name=path.stem, daemon=True)

    def start(self) -> None:
        """Listen, readable by this user only; a socket that a dead process left is replaced. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            address = f"/proc/self/fd/{folder}/{self._path.name}"
            self._socket.bind(address)
            os.chmod(address, 0o600)
        finally:
            os.close(folder)
        self._socket.listen(8)
        self._thread.start()

    def stop(self) -> None:
        """Close the socket and remove its file."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), name=f"{self._path.stem}-request", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as lines:
            try:
                request = json.loads(lines.readline(MOST_BYTES))
                if not isinstance(request, dict):
                    raise ValueError("not an object")
                reply = self._answer(request)
            except (ValueError, TypeError) as wrong:
                reply = {"ok": False, "why": f"the request cannot be understood: {wrong}"}
            except OSError:
                return
            with contextlib.suppress(OSError):
                link.sendall(json.dumps(reply, default=str).encode() + b"\n")
