"""What each probe answers to which facts. A reading that is old or missing is never green."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from preflight.board import Board, Condition, Level, Stage
from preflight.probes import narrowed, page_counts, verbose_text
from preflight.supervisor import Exited, Readiness, Service, Started, Tick, View, step
from sync.status import State, Status, write_status
from tests.support.clocks import StillClock

ACCEPT = {"verdict": "accept", "checks": [], "findings": []}
REJECT = {"verdict": "reject", "checks": [], "findings": [{"why": "the disk is full"}]}


def view() -> View:
    """Sync (this process) and the app run."""
    made = View.of((Service("sync"), Service("app", needs=("sync",))))
    for event in (
        Tick(),
        Started("sync", os.getpid()),
        Readiness("sync", os.getpid(), ok=True),
        Started("app", 99_999_999),
    ):
        made, _ = step(made, event, 0.0)
    return made


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def board(clock: StillClock, tmp_path: Path) -> Board:
    """A node that is open and saved."""
    made = Board(clock, tmp_path)
    write_status(tmp_path, Status(state=State.SAVED, pid=os.getpid(), updated_at=clock.now(), restored=True))
    made.post(stage=Stage.OPEN, report=ACCEPT, view=view(), app_ok=True, app_why="", app_at_s=clock.monotonic())
    return made


def oks(board: Board) -> tuple[bool, bool, bool]:
    """startupz, livez, readyz."""
    return tuple(board.answer(kind).ok for kind in ("startupz", "livez", "readyz"))  # type: ignore[return-value]


def test_before_anything_is_known_only_life_is_green(clock: StillClock) -> None:
    board = Board(clock)
    assert oks(board) == (False, True, False)
    assert board.condition()[0] is Condition.STARTING


def test_an_open_and_saved_node_is_ready(board: Board) -> None:
    assert oks(board) == (True, True, True)
    assert board.condition() == (Condition.READY, "")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"stage": Stage.BAD_SETTINGS, "report": None, "app_ok": False, "faults": ("X: wrong",)}, (True, True, False)),
        ({"stage": Stage.HANDING_BACK, "report": REJECT, "app_ok": False}, (False, True, False)),
        ({"report": REJECT}, (True, True, True)),  # nothing is done about it: a failed probe would be a second way
        ({"report": None, "report_error": "the checks ended without a verdict"}, (True, True, True)),
        ({"app_ok": False, "app_why": "refused"}, (True, True, False)),
        ({"sync_expected": False}, (True, True, True)),
        ({"busy_why": "one batch"}, (True, True, True)),
    ],
)
def test_probes(board: Board, facts: dict[str, object], expected: tuple[bool, bool, bool]) -> None:
    board.post(**facts)
    assert oks(board) == expected


@pytest.mark.parametrize(
    "state", [State.OFFLINE, State.FAILED, State.FENCED, State.HELD, State.RESTORING, State.STARTING]
)
def test_trouble_with_the_bucket_warns_and_takes_nothing_away(
    board: Board, clock: StillClock, tmp_path: Path, state: State
) -> None:
    write_status(tmp_path, Status(state=state, why="a reason", pid=os.getpid(), updated_at=clock.now()))
    answer = board.answer("readyz")
    assert answer.ok
    assert next(line for line in answer.lines if line.name == "sync").level is Level.WARN
    assert board.condition()[0] is Condition.DEGRADED
    assert not narrowed(answer, "", exclude="", strict=True).ok


def test_old_readings_are_not_green(board: Board, clock: StillClock) -> None:
    clock.sleep(31)
    assert not board.answer("readyz").ok
    board.post(app_at_s=clock.monotonic())
    assert board.answer("readyz").ok
    clock.sleep(30)
    board.post(app_at_s=clock.monotonic())
    sync = next(line for line in board.answer("readyz").lines if line.name == "sync")
    assert sync.level is Level.WARN
    assert "61 s old" in sync.why


def test_a_change_that_waits_long_is_said_while_sync_still_tries(
    board: Board, clock: StillClock, tmp_path: Path
) -> None:
    waiting = Status(
        state=State.SAVING,
        pid=os.getpid(),
        updated_at=clock.now(),
        pending_files=2,
        oldest_pending_s=61.0,
        restored=True,
    )
    write_status(tmp_path, waiting)
    assert board.condition()[0] is Condition.DEGRADED


def test_another_life_of_sync_proves_nothing(board: Board, clock: StillClock, tmp_path: Path) -> None:
    write_status(tmp_path, Status(state=State.SAVED, pid=os.getpid() + 1, updated_at=clock.now(), restored=True))
    assert board.sync() is None
    assert board.answer("readyz").ok
    assert board.condition()[0] is Condition.DEGRADED


def test_only_a_supervisor_beyond_hope_fails_livez(board: Board, clock: StillClock) -> None:
    clock.sleep(299)
    assert board.answer("livez").ok
    clock.sleep(2)
    assert not board.answer("livez").ok
    board.beat()
    assert board.answer("livez").ok


def test_a_service_that_is_down_is_a_line(board: Board) -> None:
    down, _ = step(view(), Exited("sync", os.getpid(), -9, "it was killed by SIGKILL"), 1.0)
    board.post(view=down)
    assert "[!]service.sync warning: it died once" in verbose_text("readyz", board.answer("readyz"))


def test_findings_of_the_monitor_are_lines_until_it_falls_silent(board: Board, clock: StillClock) -> None:
    board.post(monitor={"findings": [{"name": "gpu.temperature", "why": "hot"}]}, monitor_at_s=clock.monotonic())
    assert "[!]gpu.temperature warning: hot" in verbose_text("readyz", board.answer("readyz"))
    clock.sleep(181)
    assert "its last word is 181 s old" in verbose_text("readyz", board.answer("readyz"))


@pytest.mark.parametrize(
    ("stage", "counts"),
    [
        (Stage.CHECKING, True),
        (Stage.RESTORING, True),
        (Stage.OPENING, True),
        (Stage.OPEN, True),
        (Stage.BAD_SETTINGS, True),
        (Stage.HANDING_BACK, False),
        (Stage.STOPPING, False),
    ],
)
def test_when_the_page_counts(board: Board, stage: Stage, counts: bool) -> None:
    board.post(stage=stage, app_ok=False, app_why="refused")
    assert page_counts(board, board.answer("readyz")).ok is counts


def test_narrowing(board: Board) -> None:
    answer = board.answer("readyz")
    assert narrowed(answer, "sync", exclude="", strict=False).ok
    assert [line.name for line in narrowed(answer, "sync", exclude="", strict=False).lines] == ["sync"]
    assert "sync" not in [line.name for line in narrowed(answer, "", exclude="sync", strict=False).lines]


def test_a_reject_that_is_only_reported_passes_startup_and_is_seen_by_who_asks_strictly(board: Board) -> None:
    slow = {"title": "Upload to your bucket", "why": "it is slower than wanted"}
    board.post(report={"verdict": "reject", "findings": [slow]})
    answer = board.answer("startupz")
    assert answer.ok
    assert "[!]verdict warning: reject: Upload to your bucket: it is slower than wanted" in verbose_text(
        "startupz", answer
    )
    assert not narrowed(answer, "", exclude="", strict=True).ok


def test_a_crash_loop_tells_how_it_ended_while_it_runs_again(board: Board) -> None:
    looping = View.of((Service("sync"), Service("app")))
    for number in range(5):
        for event in (Tick(), Started("app", 20 + number), Exited("app", 20 + number, 1, "it exited with status 1")):
            looping, _ = step(looping, event, 100.0 * number)
    looping, _ = step(looping, Tick(), 480.0)
    looping, _ = step(looping, Started("app", 30), 480.0)
    looping, _ = step(looping, Readiness("app", 30, ok=False, why="it does not answer: Connection refused"), 480.1)
    board.post(view=looping, app_ok=False, app_why="it does not answer: Connection refused")
    text = verbose_text("readyz", board.answer("readyz"))
    assert "it exited with status 1; it was started again: it does not answer: Connection refused" in text
    assert "service.app warning: it died 5 times in a row and is started again: it exited with status 1" in text
    assert board.condition()[0] is Condition.FAILED
