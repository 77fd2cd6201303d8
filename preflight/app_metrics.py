"""The receiving side of `preflight.report_metric`: values by name, their median a sampling period, and their limits."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import socket
import statistics
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.errors import BadSettings

log = logging.getLogger(__name__)
NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
LIMIT = re.compile(r"^PREFLIGHT_METRIC_([A-Z][A-Z0-9_]*)_AT_(LEAST|MOST)$")
WINDOW_VARIABLE = "PREFLIGHT_METRIC_WINDOW_S"
WINDOW_S = 300.0
MOST_NAMES = 50
MOST_VALUES = 10_000  # of one metric in one period
LONGEST_PATH = 100  # a unix socket's path ends at 107 bytes


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """What the user demands of a metric over a window."""

    at_least: float | None = None
    at_most: float | None = None

    def broken(self, value: float) -> str:
        """How the value breaks it, "" when it does not."""
        if self.at_least is not None and value < self.at_least:
            return f"it is {value:g}, below {self.at_least:g}"
        if self.at_most is not None and value > self.at_most:
            return f"it is {value:g}, above {self.at_most:g}"
        return ""


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """Limits by lower-case metric name, and the window that they are judged over (seconds)."""

    limits: Mapping[str, MetricLimit]
    window_s: float = WINDOW_S

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> MetricSettings:
        """Raises BadSettings with every fault."""
        problems: list[str] = []
        found: dict[str, dict[str, float]] = {}
        window_s = WINDOW_S
        for variable, text in environ.items():
            matched = LIMIT.match(variable)
            if not text.strip() or not (matched or variable == WINDOW_VARIABLE):
                continue
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value) or (variable == WINDOW_VARIABLE and value <= 0):
                problems.append(f"{variable}: {text!r} is not a number that can be used")
            elif matched:
                found.setdefault(matched[1].lower(), {})[f"at_{matched[2].lower()}"] = value
            else:
                window_s = value
        if problems:
            raise BadSettings(problems)
        return cls({name: MetricLimit(**sides) for name, sides in found.items()}, window_s)


def socket_path(state_dir: Path) -> Path:
    """Where `report_metric` sends to: in the state folder, or in /tmp where that is too deep for a socket."""
    path = state_dir.absolute() / "metrics.sock"
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path("/tmp") / f"preflight-metrics-{os.getuid()}-{digest}.sock"


class Receiver(threading.Thread):
    """Takes datagrams until closed. Whatever is sent, it only ever counts numbers by name."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="app-metrics", daemon=True)
        self._lock = threading.Lock()
        self._values: dict[str, list[float]] = {}
        self._better: dict[str, str] = {}
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind(str(path))
        path.chmod(0o600)

    def run(self) -> None:
        while True:
            try:
                message = self._link.recv(4096)
            except OSError:
                return  # closed
            self._take(message)

    def _take(self, message: bytes) -> None:
        try:
            said = json.loads(message)
            name, value = said["name"], float(said["value"])
        except (ValueError, KeyError, TypeError):
            return
        if not (isinstance(name, str) and NAME.match(name) and math.isfinite(value)):
            return
        with self._lock:
            if name not in self._values and len(self._better) >= MOST_NAMES:
                return
            values = self._values.setdefault(name, [])
            if len(values) < MOST_VALUES:
                values.append(value)
            better = said.get("better")
            self._better[name] = better if better in ("higher", "lower") else ""

    def sample(self) -> dict[str, tuple[float, str]]:
        """Name -> (median since the last call, which side is better); names that said nothing are absent."""
        with self._lock:
            values, self._values = self._values, {}
            return {name: (statistics.median(some), self._better[name]) for name, some in values.items() if some}

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()
        self._path.unlink(missing_ok=True)
