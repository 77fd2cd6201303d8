"""Runs checks in concurrent lanes with a deadline each and a hard cap for all: whatever hangs ends as unknown.

A thread cannot be killed, so every check runs in a daemon thread of its own that is abandoned at its deadline;
what it returns later is thrown away. Checks that call drivers do so in child processes that they do kill.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from preflight.checks import Broken, Check, Context, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.model import Measurement

HARD_CAP_S = 20.0  # Salad's default startup probe gives 45 s; a verdict must come well before
_log = logging.getLogger(__name__)


def run(
    checks: Sequence[Check],
    context: Context,
    *,
    on_measurement: Callable[[Measurement], None] | None = None,
    hard_cap_s: float = HARD_CAP_S,
) -> tuple[Measurement, ...]:
    """One measurement a check, in the order of `checks`, after at most `hard_cap_s` seconds.

    `on_measurement` is called from the calling thread, as results arrive. Sets `context.stopped` at the end.
    """
    lanes: dict[str, list[Check]] = {}
    for check in checks:
        lanes.setdefault(check.lane, []).append(check)
    results: queue.Queue[Measurement | None] = queue.Queue()
    ends_at = context.clock.monotonic() + hard_cap_s
    for lane, members in lanes.items():
        threading.Thread(
            target=_run_lane, args=(members, context, results, ends_at), name=f"lane-{lane}", daemon=True
        ).start()
    seen: dict[str, Measurement] = {}
    open_lanes = len(lanes)
    while open_lanes:
        left_s = ends_at - context.clock.monotonic()
        try:
            result = results.get(timeout=max(left_s, 0.0))
        except queue.Empty:
            break
        if result is None:
            open_lanes -= 1
            continue
        seen[result.name] = result
        if on_measurement:
            on_measurement(result)
    context.stopped.set()
    for check in checks:
        if check.name not in seen:
            seen[check.name] = _unknown(check, context, "the time for all checks was up", hard_cap_s)
            if on_measurement:
                on_measurement(seen[check.name])
    return tuple(seen[check.name] for check in checks)


def measure(check: Check, context: Context, *, deadline_s: float | None = None) -> Measurement:
    """One check, now, within its deadline. Never raises for what the check did."""
    limit_s = check.deadline_s if deadline_s is None else min(deadline_s, check.deadline_s)
    box: queue.SimpleQueue[Measurement] = queue.SimpleQueue()
    started = context.clock.monotonic()
    context = dataclasses.replace(context, ends_at_s=started + limit_s)
    thread = threading.Thread(target=_measure_into, args=(check, context, box), name=f"check-{check.name}", daemon=True)
    thread.start()
    try:
        return box.get(timeout=max(limit_s, 0.0))
    except queue.Empty:
        took_s = context.clock.monotonic() - started
        _log.warning("a check did not end in time", extra={"check": check.name, "deadline_s": limit_s})
        return _unknown(check, context, f"no result within {limit_s:.0f} s", took_s)


def _run_lane(
    checks: Sequence[Check], context: Context, results: queue.Queue[Measurement | None], ends_at: float
) -> None:
    try:
        for check in checks:
            left_s = ends_at - context.clock.monotonic()
            if left_s <= 0:
                return
            results.put(measure(check, context, deadline_s=left_s))
    finally:
        results.put(None)


def _measure_into(check: Check, context: Context, box: queue.SimpleQueue[Measurement]) -> None:
    started = context.clock.monotonic()
    at = datetime.fromtimestamp(context.clock.now(), UTC)

    def result(**fields: object) -> Measurement:
        took_s = max(context.clock.monotonic() - started, 0.0)
        return Measurement(check.name, check.unit, at=at, took_s=took_s, **fields)  # type: ignore[arg-type]

    try:
        reading = check.measure(context)
        if not isinstance(reading, Reading):
            reading = Reading(reading)
        box.put(result(value=reading.value, detail=reading.detail, blame=reading.blame, advice=reading.advice))
    except NotExpected as error:
        box.put(result(why_not=error.why, skipped=True))
    except Broken as error:
        box.put(result(why_not=error.why, failed=True, blame=error.blame, advice=error.advice, detail=error.detail))
    except Unmeasured as error:
        box.put(result(why_not=error.why, blame=error.blame))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a bug of ours must end as unknown, never as a lost node
        _log.exception("a check has a bug", extra={"check": check.name})
        box.put(result(why_not=f"the check itself failed ({type(error).__name__})"))


def _unknown(check: Check, context: Context, why: str, took_s: float) -> Measurement:
    at = datetime.fromtimestamp(context.clock.now(), UTC)
    return Measurement(check.name, check.unit, why_not=why, at=at, took_s=took_s)
