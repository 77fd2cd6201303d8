"""The log of the sync process: one JSON object a line on stderr, plain text on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import traceback

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLine(logging.Formatter):
    """`severity`, `message` and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


class Text(logging.Formatter):
    """For people: the message and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line (and a trace, if there is one)."""
        fields = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _OWN)
        text = f"{record.levelname.lower()}: {record.getMessage()} {fields}".rstrip()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        return text


def set_up_logging(*, is_supervised: bool = False) -> None:
    """Send our records to stderr, once. Under a supervisor a terminal shows warnings only."""
    root = logging.getLogger()
    if root.handlers:
        return
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(Text() if sys.stderr.isatty() else JsonLine())
    root.addHandler(stream)
    is_quiet = is_supervised and sys.stderr.isatty()
    logging.getLogger("sync").setLevel(logging.WARNING if is_quiet else logging.INFO)
