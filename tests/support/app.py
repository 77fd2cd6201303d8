"""A small server for `preflight up -- COMMAND`: READY, BUSY or failing, as its file says. Run as a script."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORD = Path(os.environ["APP_WORD"]) if "APP_WORD" in os.environ else None


class Answer(BaseHTTPRequestHandler):
    """200 READY, 429 BUSY, 503 otherwise."""

    def do_GET(self) -> None:
        word = WORD.read_text().strip() if WORD and WORD.exists() else "READY"
        status = {"READY": 200, "BUSY": 429}.get(word, 503)
        body = f"{word} {os.getpid()}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "orphan" in sys.argv and os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)  # a grandchild that ends after its parent: ours to bury
        os._exit(0)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PREFLIGHT_PORT"])), Answer).serve_forever()
