"""The step as a table of cases."""

from __future__ import annotations

from preflight.supervisor import (
    Action,
    Event,
    Exited,
    Hurry,
    Kill,
    Phase,
    Readiness,
    Resume,
    Service,
    Spawn,
    Started,
    Stop,
    Terminate,
    Tick,
    View,
    Waive,
    step,
)

SYNC = Service("sync", backoff_s=0.5, backoff_max_s=8.0, stop_deadline_s=35.0)
APP = Service("app", needs=("sync",), stop_deadline_s=10.0, settled_after_s=60.0, crash_loop_at=3)


def play(*events: tuple[float, Event], services: tuple[Service, ...] = (SYNC, APP)) -> tuple[View, list[Action]]:
    """Feed events at their times; the last view and every action."""
    view, all_actions = View.of(services), []
    for now_s, event in events:
        view, actions = step(view, event, now_s)
        all_actions += actions
    return view, all_actions


OPEN = (
    (0.0, Tick()),
    (0.0, Started("sync", 10)),
    (1.0, Readiness("sync", 10, ok=True)),
    (1.0, Started("app", 20)),
    (4.0, Readiness("app", 20, ok=True)),
)


def test_the_app_waits_for_the_folder() -> None:
    view, actions = play((0.0, Tick()), (0.0, Started("sync", 10)), (5.0, Tick()))
    assert actions == [Spawn("sync")]
    view, actions = step(view, Readiness("sync", 10, ok=True), 6.0)
    assert actions == (Spawn("app"),)


def test_a_broken_bucket_does_not_keep_the_app_shut() -> None:
    _, actions = play((0.0, Tick()), (0.0, Exited("sync", 0, 1, "no such file")), (20.0, Waive("sync")))
    assert Spawn("app") in actions


def test_a_dead_app_comes_back_and_sync_is_left_alone() -> None:
    view, actions = play(*OPEN, (5.0, Exited("app", 20, -9, "killed")), (5.4, Tick()), (5.5, Tick()))
    assert actions == [Spawn("sync"), Spawn("app"), Spawn("app")]
    assert view.child("sync").phase is Phase.RUNNING
    assert view.child("app").restarts == 1


def test_a_dead_sync_comes_back_and_the_app_is_left_alone() -> None:
    view, actions = play(*OPEN, (5.0, Exited("sync", 10, -9, "killed")), (5.5, Tick()), (5.5, Started("sync", 11)))
    assert actions == [Spawn("sync"), Spawn("app"), Spawn("sync")]
    assert view.child("app").pid == 20
    assert view.child("app").ready


def test_backoff_doubles_up_to_its_limit_and_never_ends() -> None:
    view, now_s, delays = View.of((SYNC,)), 0.0, []
    view, _ = step(view, Tick(), now_s)
    for pid in range(1, 12):
        view, _ = step(view, Started("sync", pid), now_s)
        view, _ = step(view, Exited("sync", pid, 1, "it exited with status 1"), now_s)
        delays.append(view.due_in_s(now_s))
        now_s += delays[-1]
        view, actions = step(view, Tick(), now_s)
        assert actions == (Spawn("sync"),)
    assert delays[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_crash_loop_is_named_and_a_long_life_ends_it() -> None:
    events: list[tuple[float, Event]] = [*OPEN]
    for number in range(3):
        events += [(10.0 * number + 5, Exited("app", 20 + number, 1, "x")), (10.0 * number + 14, Tick())]
        events += [(10.0 * number + 14, Started("app", 21 + number))]
    view, _ = play(*events)
    assert view.looping() == ("app",)
    view, _ = step(view, Exited("app", 23, 1, "x"), 200.0)
    assert view.looping() == ()
    assert view.child("app").deaths == 1


def test_the_app_stops_before_sync_is_asked_to() -> None:
    view, actions = play(*OPEN, (9.0, Stop()))
    assert actions[2:] == [Terminate("app", 20)]
    view, actions2 = step(view, Tick(), 18.0)
    assert actions2 == ()
    view, actions3 = step(view, Exited("app", 20, 0, "it exited with status 0"), 18.5)
    assert actions3 == (Terminate("sync", 10),)
    view, _ = step(view, Exited("sync", 10, 0, "it exited with status 0"), 19.0)
    assert view.is_over


def test_what_does_not_stop_is_killed_and_asked_again() -> None:
    view, _ = play(*OPEN, (9.0, Stop()))
    view, actions = step(view, Tick(), 19.0)
    assert actions == (Kill("app", 20),)
    view, actions = step(view, Tick(), 19.5)
    assert actions == ()
    view, actions = step(view, Tick(), 20.0)
    assert actions == (Kill("app", 20),)


def test_a_second_signal_skips_the_flush() -> None:
    view, _ = play(*OPEN, (9.0, Stop()), (9.5, Exited("app", 20, 0, "")))
    view, actions = step(view, Hurry(), 10.0)
    assert actions == (Terminate("sync", 10),)
    view, actions = step(view, Tick(), 12.0)
    assert actions == (Kill("sync", 10),)


def test_news_of_an_earlier_life_changes_nothing() -> None:
    view, _ = play(*OPEN)
    assert step(view, Exited("app", 19, 1, "old"), 5.0) == (view, ())
    assert step(view, Readiness("app", 19, ok=False, why="old"), 5.0) == (view, ())


def test_a_worker_that_finished_ends_the_node() -> None:
    worker = Service("app", may_finish=True)
    view, _ = play((0.0, Tick()), (0.0, Started("app", 5)), (9.0, Exited("app", 5, 0, "")), services=(worker,))
    assert view.child("app").finished
    assert view.is_over


def test_a_worker_that_failed_is_started_again() -> None:
    worker = Service("app", may_finish=True)
    view, _ = play((0.0, Tick()), (0.0, Started("app", 5)), (9.0, Exited("app", 5, 1, "")), services=(worker,))
    assert view.child("app").phase is Phase.BACKOFF


def test_the_reason_of_the_last_end_stays_while_it_is_started_again() -> None:
    view, _ = play(*OPEN, (5.0, Exited("app", 20, 1, "it exited with status 1")), (5.5, Tick()))
    assert view.child("app").reason == "it exited with status 1"
    view, _ = step(view, Started("app", 21), 5.5)
    view, _ = step(view, Readiness("app", 21, ok=False, why="it does not answer"), 5.6)
    assert view.child("app").reason == "it exited with status 1; it was started again: it does not answer"
    view, _ = step(view, Readiness("app", 21, ok=True), 7.0)
    assert view.child("app").reason == ""
    view, _ = step(view, Readiness("app", 21, ok=False, why="it answers 500"), 9.0)
    assert view.child("app").reason == "it answers 500"  # another trouble than the one before


def test_a_long_life_is_forgiven_while_it_lasts() -> None:
    events: list[tuple[float, Event]] = [*OPEN]
    for number in range(3):
        events += [(5.0 + 9 * number, Exited("app", 20 + number, 1, "x")), (13.0 + 9 * number, Tick())]
        events += [(13.0 + 9 * number, Started("app", 21 + number))]
    view, _ = play(*events, (90.0, Tick()))
    assert view.looping() == ("app",)
    view, _ = step(view, Tick(), 91.0)
    assert view.looping() == ()
    assert view.child("app").reason == ""


LAST = (*OPEN, (10.0, Stop()), (10.0, Exited("app", 20, -15, "killed")))  # sync is asked to save what is left
SAVES = Service("sync", stop_deadline_s=35.0, last_words=frozenset({0, 11}))


def test_a_last_save_that_is_killed_is_resumed_within_its_deadline() -> None:
    view, actions = play(*LAST, (13.0, Exited("sync", 10, -9, "killed")), services=(SAVES, APP))
    assert actions[-2:] == [Terminate("sync", 10), Resume("sync", 32.0)]
    view, _ = step(view, Started("sync", 11), 14.0)
    assert step(view, Tick(), 44.9)[1] == ()
    assert step(view, Tick(), 45.0)[1] == (Kill("sync", 11),)
    view, actions_now = step(view, Exited("sync", 11, 0, "saved"), 20.0)
    assert actions_now == ()
    assert view.is_over


def test_a_last_save_that_said_its_last_words_is_not_resumed() -> None:
    for status, is_over in ((0, True), (11, True), (1, False), (3, False), (-15, False)):
        view, _ = play(*LAST, (13.0, Exited("sync", 10, status, "")), services=(SAVES, APP))
        assert view.is_over == is_over, status


def test_a_last_save_that_used_its_time_is_not_resumed() -> None:
    view, _ = play(*LAST, (40.0, Exited("sync", 10, 3, "partial")), services=(SAVES, APP))
    assert view.is_over


def test_sync_that_was_dead_when_the_node_stops_does_its_last_work() -> None:
    _, actions = play(
        *OPEN, (9.0, Exited("sync", 10, -9, "killed")), (9.1, Stop()), (9.2, Exited("app", 20, 0, "")),
        services=(SAVES, APP),
    )  # fmt: skip
    assert actions[-1] == Resume("sync", 35.0)


def test_before_the_folder_was_there_nothing_is_resumed() -> None:
    view, _ = play(
        (0.0, Tick()), (0.0, Started("sync", 10)), (1.0, Stop()), (1.0, Exited("sync", 10, -9, "")),
        services=(SAVES, APP),
    )  # fmt: skip
    assert view.is_over


def test_a_second_signal_ends_the_resumed_save_too() -> None:
    view, _ = play(*LAST, (13.0, Exited("sync", 10, -9, "killed")), services=(SAVES, APP))
    view, _ = step(view, Hurry(), 13.1)
    view, _ = step(view, Started("sync", 11), 13.5)
    assert step(view, Tick(), 15.1)[1] == (Kill("sync", 11),)
    assert step(view, Exited("sync", 11, -9, ""), 15.2)[0].is_over
