"""One line a fact: JSON with `severity` for machines (Salad promotes it), text on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
REPEAT_EVERY_S = 60.0
REPEATS_KEPT = 200


class JsonLines(logging.Formatter):
    """`{"time", "severity", "message", "logger", …fields}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            **fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Text(logging.Formatter):
    """For people: the message, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        given = fields(record)
        extras = "  ".join(f"{name}={value}" for name, value in given.items() if not isinstance(value, list))
        rows = "".join(f"\n             {row}" for value in given.values() if isinstance(value, list) for row in value)
        mark = {"WARNING": "! ", "ERROR": "✗ ", "CRITICAL": "✗ "}.get(record.levelname, "  ")
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        text = f"{clock} {mark}{record.getMessage()}" + (f"  ({extras})" if extras else "") + rows
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


class Throttle(logging.Filter):
    """The same message with the same fields passes once a minute; the next one says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = f"{record.name}{record.msg}{sorted(fields(record).items(), key=str)}"
        with self._lock:
            last, left_out = self._seen.get(key, (-REPEAT_EVERY_S, 0))
            if 0 <= record.created - last < REPEAT_EVERY_S:
                self._seen[key] = (last, left_out + 1)
                return False
            if left_out:
                record.repeated = left_out
            self._seen.pop(key, None)
            self._seen[key] = (record.created, 0)
            while len(self._seen) > REPEATS_KEPT:
                self._seen.pop(next(iter(self._seen)))
            return True


def configure(environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Send every log record of the process to `stream` (standard error) in the form PREFLIGHT_LOG asks for."""
    target = sys.stderr if stream is None else stream
    form = environ.get("PREFLIGHT_LOG", "auto").strip().lower()
    as_text = form == "text" or (form != "json" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(Text() if as_text else JsonLines())
    handler.addFilter(Throttle())
    # On a terminal the screen tells the story; the log adds what is wrong.
    usual = "WARNING" if as_text and target.isatty() else "INFO"
    level = logging.getLevelName(environ.get("PREFLIGHT_LOG_LEVEL", "").strip().upper() or usual)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if isinstance(level, int) else logging.INFO)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "google", "azure"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
