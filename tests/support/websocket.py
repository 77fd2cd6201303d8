"""One kernel's websocket, as the front end speaks it."""

from __future__ import annotations

import json
import time
import uuid
from typing import Self

import websocket


class KernelSocket:
    """Runs code and collects its stdout."""

    def __init__(self, root: str, kernel_id: str, cookies: str) -> None:
        self._session = uuid.uuid4().hex
        self._socket = websocket.create_connection(
            f"{root.replace('http', 'ws', 1)}/api/kernels/{kernel_id}/channels?session_id={self._session}",
            cookie=cookies,
            origin=root,
            timeout=90,  # the server answers once the kernel speaks: many seconds on a busy machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def execute(self, code: str, timeout_s: float) -> str:
        """Stdout of the code; an error in it fails the test."""
        asked = uuid.uuid4().hex
        header = {
            "msg_id": asked,
            "msg_type": "execute_request",
            "username": "",
            "session": self._session,
            "date": "",
            "version": "5.4",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._socket.send(json.dumps(message))
        said: list[str] = []
        ends_at = time.monotonic() + timeout_s
        while time.monotonic() < ends_at:
            answer = json.loads(self._socket.recv())
            if answer["parent_header"].get("msg_id") != asked:
                continue
            kind, body = answer["header"]["msg_type"], answer["content"]
            if kind == "stream" and body["name"] == "stdout":
                said.append(body["text"])
            assert kind != "error", "\n".join(body["traceback"])
            if kind == "status" and body["execution_state"] == "idle":
                return "".join(said)
        raise AssertionError(f"the cell did not end within {timeout_s} s")
