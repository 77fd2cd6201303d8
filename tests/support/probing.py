"""A prober that never looks away: every answer of `/livez`, with how long it took."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time


class Prober(threading.Thread):
    """Asks every `every_s` until stopped. `bad` lists what was not 200, `took` the seconds of each answer."""

    def __init__(self, port: int, path: str = "/livez", every_s: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.port, self.path, self.every_s = port, path, every_s
        self.took: list[float] = []
        self.bad: list[str] = []
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self.every_s):
            started = time.monotonic()
            try:
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
                    connection.request("GET", self.path)
                    status = connection.getresponse().status
            except OSError as failed:
                self.bad.append(f"{failed!r} after {time.monotonic() - started:.2f} s")
                continue
            if status != 200:
                self.bad.append(str(status))
            self.took.append(time.monotonic() - started)

    def __enter__(self) -> Prober:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join(10)

    def quantile(self, share: float) -> float:
        """The given quantile of the answers' durations, seconds."""
        return sorted(self.took)[min(len(self.took) - 1, int(share * len(self.took)))]
