"""The monitor's rules on tables, and on the published minutes of two real nodes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from preflight.monitor import HARD, SOFT, Rule, Situation, Track, deletion_cost, feed, next_step

TRACES = Path(__file__).parent / "traces"
OWN_NORMAL = dataclasses.replace(SOFT, worse="lower")


def minutes(name: str) -> list[float]:
    """The trace of one node."""
    return [float(word) for word in (TRACES / f"{name}.txt").read_text().split()]


def play(values: list[float], rule: Rule = OWN_NORMAL) -> tuple[Track, list[int]]:
    """The last track and the minutes in which an alarm was raised."""
    track, raised = Track(rule), []
    for minute, value in enumerate(values):
        before = track.raised
        track = feed(track, value, "", minute * 60.0)
        if track.raised and not before:
            raised.append(minute)
    return track, raised


@pytest.mark.parametrize("name", ["rtx3080ti", "rtx4080s"])
@pytest.mark.parametrize("factor", [0.93, 0.9, 0.85])
def test_healthy_nodes_raise_no_alarm(name: str, factor: float) -> None:
    values = minutes(name)
    assert len(values) > 800
    assert play(values, dataclasses.replace(OWN_NORMAL, factor=factor))[1] == []


@pytest.mark.parametrize("name", ["rtx3080ti", "rtx4080s"])
@pytest.mark.parametrize("at", [40, 200, 500, 770])
def test_a_drop_of_a_fifth_is_found_within_six_minutes(name: str, at: int) -> None:
    values = minutes(name)
    dropped = values[:at] + [value * 0.8 for value in values[at:]]
    _, raised = play(dropped)
    assert raised
    assert at <= raised[0] < at + 6


def test_one_bad_minute_in_five_is_nothing() -> None:
    values = [100.0] * 30 + [10.0, 100.0, 100.0, 100.0, 100.0] * 50
    assert play(values)[1] == []


def test_an_alarm_ends_when_the_readings_are_good_again() -> None:
    track, raised = play([100.0] * 30 + [50.0] * 5 + [100.0] * 4)
    assert raised == [33]
    assert not track.raised


def test_a_slow_worker_from_the_start_is_its_own_normal() -> None:
    assert play([10.0] * 200)[1] == []  # that is what limits are for


def test_a_broken_limit_needs_four_of_five() -> None:
    track = Track(SOFT)
    for minute, broken in enumerate(["too hot", "", "too hot", "too hot"]):
        track = feed(track, 95.0, broken, minute * 60.0)
    assert not track.raised
    track = feed(track, 95.0, "too hot", 240.0)
    assert track.raised
    assert track.why == "too hot"


def test_a_proven_fault_needs_two_in_a_row() -> None:
    track = feed(Track(HARD), None, "the GPU is gone", 0.0)
    assert not track.raised
    assert feed(track, None, "the GPU is gone", 60.0).raised
    assert not feed(feed(track, 1.0, "", 60.0), None, "the GPU is gone", 120.0).raised


def test_unknown_changes_nothing() -> None:
    track, _ = play([100.0] * 30 + [50.0] * 3)
    assert feed(track, None, "", 9e9) == track


ABLE = Situation("reallocate", idle=False, can_restart=True, can_reallocate=True)


@pytest.mark.parametrize(
    ("check", "rejects", "situation", "step"),
    [
        ("gpu.count", True, ABLE, "restart"),
        ("gpu.count", True, dataclasses.replace(ABLE, tried=("restart",)), "reallocate"),
        ("gpu.count", True, dataclasses.replace(ABLE, tried=("restart", "reallocate")), "warn"),
        ("disk.free", True, ABLE, "recreate"),
        ("app.rtf", True, ABLE, "reallocate"),
        ("app.rtf", False, ABLE, "warn"),
        ("app.rtf", True, dataclasses.replace(ABLE, wanted="report"), "warn"),
        ("app.rtf", True, dataclasses.replace(ABLE, wanted="reallocate-when-idle"), "warn"),
        ("app.rtf", True, dataclasses.replace(ABLE, wanted="reallocate-when-idle", idle=None), "warn"),
        ("app.rtf", True, dataclasses.replace(ABLE, wanted="reallocate-when-idle", idle=True), "reallocate"),
        ("gpu.count", True, dataclasses.replace(ABLE, can_restart=False, can_reallocate=False), "warn"),
    ],
)
def test_the_ladder(check: str, rejects: bool, situation: Situation, step: str) -> None:
    assert next_step(check, rejects=rejects, situation=situation) == step


def test_deletion_cost_orders_what_would_be_lost() -> None:
    unsaved = deletion_cost(pending_bytes=1, busy=False, idle=True)
    running = deletion_cost(pending_bytes=0, busy=True, idle=False)
    looked_at = deletion_cost(pending_bytes=0, busy=False, idle=False)
    unknown = deletion_cost(pending_bytes=0, busy=None, idle=None)
    idle = deletion_cost(pending_bytes=0, busy=False, idle=True)
    assert unsaved > running > looked_at == unknown > idle == 0
