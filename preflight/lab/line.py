"""One JSON object a line over a unix socket of any depth: how the pieces of one node speak to each other."""

from __future__ import annotations

import json
import os
import socket
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
