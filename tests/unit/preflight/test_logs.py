"""One line a fact, in the form that the reader can use, and not the same one all the time."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from preflight.logs import JsonLines, Text, Throttle, configure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the root logger writes, put back afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    made = io.StringIO()
    yield made
    root.handlers[:] = before
    root.setLevel(level)


def test_json_lines(stream: io.StringIO) -> None:
    configure({}, stream)
    logging.getLogger("preflight.x").warning("a thing happened", extra={"check": "gpu.count", "took_s": 1.5})
    line = json.loads(stream.getvalue())
    assert line["severity"] == "WARNING"
    assert line["message"] == "a thing happened"
    assert (line["check"], line["took_s"]) == ("gpu.count", 1.5)
    assert line["time"].endswith("+00:00")


def test_text(stream: io.StringIO) -> None:
    configure({"PREFLIGHT_LOG": "text"}, stream)
    logging.getLogger("preflight.x").error("it broke", extra={"why": "age"})
    assert "✗ it broke  (why=age)" in stream.getvalue()


def test_levels(stream: io.StringIO) -> None:
    configure({"PREFLIGHT_LOG_LEVEL": "error"}, stream)
    logging.getLogger("preflight.x").warning("not this")
    logging.getLogger("preflight.x").error("this")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["this"]


def record(text: str, at: float, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "n", "msg": text, "levelname": "INFO", **fields})
    made.created = at
    return made


def test_repeats_pass_once_a_minute_and_are_counted() -> None:
    throttle = Throttle()
    assert throttle.filter(record("same", 0.0))
    assert not throttle.filter(record("same", 1.0))
    assert not throttle.filter(record("same", 59.0))
    assert throttle.filter(record("other", 59.0))
    assert throttle.filter(record("same", 2.0, why="another reason"))
    again = record("same", 61.0)
    assert throttle.filter(again)
    assert json.loads(JsonLines().format(again))["repeated"] == 2
    assert throttle.filter(record("same", -5.0))  # the clock jumped back: rather twice than never


def test_a_traceback_is_part_of_the_line() -> None:
    try:
        raise ValueError("inner")
    except ValueError as error:
        made = logging.makeLogRecord({"msg": "outer", "levelname": "ERROR", "exc_info": (ValueError, error, None)})
    assert "ValueError: inner" in json.loads(JsonLines().format(made))["traceback"]
    assert "ValueError: inner" in Text().format(made)
