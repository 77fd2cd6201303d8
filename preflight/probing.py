"""`preflight probe`: asks the probe port and exits 0 or 1. Standard library only: it must start in < 150 ms."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence

KINDS = {"startup": "startupz", "live": "livez", "ready": "readyz"}
USAGE = """usage: preflight probe startup|live|ready [--timeout SECONDS] [--quiet]

Ask the running `preflight up` on PREFLIGHT_PROBE_PORT (default 8001) and say what it answers.
exit codes: 0 yes, 1 no or no answer, 2 wrong usage
"""


def probe(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Ask and print the verbose answer; 0 when the probe passes."""
    words = list(argv)
    quiet = "--quiet" in words
    words = [word for word in words if word != "--quiet"]
    timeout_s = 3.0
    if "--timeout" in words:
        at = words.index("--timeout")
        try:
            timeout_s = float(words[at + 1])
        except (IndexError, ValueError):
            return _usage()
        del words[at : at + 2]
    if words in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if len(words) != 1 or words[0] not in KINDS:
        return _usage()
    try:
        port = int(environ.get("PREFLIGHT_PROBE_PORT", "").strip() or 8001)
        status, body = ask(port, f"/{KINDS[words[0]]}?verbose=1", timeout_s)
    except ValueError:
        sys.stderr.write("preflight: PREFLIGHT_PROBE_PORT is not a number\n")
        return 2
    except OSError as failed:
        sys.stdout.write(f"[-]probe failed: nothing answers on port {port}: {failed}\n")
        return 1
    if not quiet:
        sys.stdout.write(body)
    return 0 if status == 200 else 1


def ask(port: int, path: str, timeout_s: float) -> tuple[int, str]:
    """Status and body, over IPv6 or else IPv4. Raises OSError when nothing answers in time."""
    try:
        return _get("::1", port, path, timeout_s)
    except OSError:
        return _get("127.0.0.1", port, path, timeout_s)


def _get(host: str, port: int, path: str, timeout_s: float) -> tuple[int, str]:
    with socket.create_connection((host, port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise OSError("the answer is not HTTP")
    return int(words[1]), body.decode("utf-8", "replace")


def _usage() -> int:
    sys.stderr.write(USAGE)
    return 2
