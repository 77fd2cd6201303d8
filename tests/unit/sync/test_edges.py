"""Thin edges: settings, control socket, bandwidth, the journal, the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sync.cli import app, code_of
from sync.clock import SystemClock
from sync.control import ControlServer, call, is_running
from sync.crew import FAR_S, FIRST, Bandwidth, Crew, side_by_side
from sync.errors import BadSettings, Transient
from sync.settings import SyncSettings, machine_name
from sync.state import Journal
from sync.status import State, Status, StatusFile, read_status, status_path, write_status
from sync.tree import Entry, Row
from sync.work import Failed, Outcome, Several, Vanished, World
from tests.support.rig import Clock, Rig
from tests.support.wait import until


def test_settings_tell_all_problems_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environ = {
        "AWS_S3_BUCKET_FOLDER": "bucket/x",
        "AWS_ACCESS_KEY_ID": "only half",
        "PREFLIGHT_DATA_DIR": str(tmp_path / "file"),
        "PREFLIGHT_FLUSH_TIMEOUT_S": "soon",
        "PREFLIGHT_GUARD_RATIO": "7",
    }
    with pytest.raises(BadSettings) as bad:
        SyncSettings.load(environ, cwd=tmp_path)
    told = "\n".join(bad.value.problems)
    for name in ("AWS_SECRET_ACCESS_KEY", "PREFLIGHT_DATA_DIR", "PREFLIGHT_FLUSH_TIMEOUT_S", "PREFLIGHT_GUARD_RATIO"):
        assert name in told


def test_settings_without_a_bucket(tmp_path: Path) -> None:
    embedded = SyncSettings.load({}, cwd=tmp_path)
    assert embedded.stores[0].provider == "file"
    assert embedded.stores[0].bucket == str(tmp_path / ".local" / "bucket")
    assert SyncSettings.load({"PREFLIGHT_EMBEDDED_STORE": "0"}, cwd=tmp_path).stores == ()
    with pytest.raises(BadSettings):
        SyncSettings.load({"PREFLIGHT_DATA_DIR": str(tmp_path), "PREFLIGHT_STATE_DIR": str(tmp_path / "in")})


def test_a_node_without_a_name_keeps_the_one_it_made_up(tmp_path: Path) -> None:
    settings = SyncSettings.load({"PREFLIGHT_STATE_DIR": str(tmp_path / "s")}, cwd=tmp_path)
    assert machine_name(settings) == machine_name(settings)
    assert machine_name(SyncSettings.load({"SALAD_MACHINE_ID": "m-1"}, cwd=tmp_path)) == "m-1"


def test_control_in_a_folder_deeper_than_a_socket_address_may_be(tmp_path: Path) -> None:
    state = tmp_path / ("d" * 100) / ("e" * 100)
    server = ControlServer(state, lambda request: {"echo": request["cmd"], "ok": True})
    server.start()
    try:
        assert call(state, {"cmd": "hello"}, 5.0) == {"echo": "hello", "ok": True}
        assert is_running(state)
    finally:
        server.stop()
    assert not is_running(state)
    with pytest.raises(Transient):
        call(state, {"cmd": "hello"}, 1.0)


def test_bandwidth_keeps_the_average_and_lets_small_saves_pass() -> None:
    clock = Clock()
    line = Bandwidth(clock, 1_000_000)
    line.spend(1_000_000)
    line.spend(1_000_000)
    assert clock.added_s == pytest.approx(1.0)
    line.spend(1_000)
    assert clock.added_s == pytest.approx(1.0)
    line.spend(1_000_000)
    assert clock.added_s == pytest.approx(2.001)


def test_crew_survives_a_bug_in_a_job() -> None:
    answers: list[Outcome] = []
    crew = Crew(2, answers.append, SystemClock())
    crew.start()

    def broken() -> Outcome:
        raise ZeroDivisionError

    crew.submit("a", broken)
    crew.submit("b", lambda: Vanished("b"))
    crew.submit("", lambda: Vanished("express"))
    until(lambda: len(answers) == 3, 5)
    crew.stop(2.0)
    failed = [a for a in answers if isinstance(a, Failed)]
    assert [f.path for f in failed] == ["a"]
    assert "ZeroDivisionError" in str(failed[0].error)


@pytest.mark.parametrize("far", [False, True])
def test_crew_grows_past_its_first_threads_only_where_jobs_wait_for_a_distant_server(far: bool) -> None:
    clock, answers = Clock(), list[Outcome]()
    most = FIRST + 4
    crew = Crew(most, answers.append, clock)
    crew.start()

    def job() -> Outcome:
        if far:
            clock.sleep(2 * FAR_S)
        return Vanished("a")

    for number in range(8 * FIRST):
        crew.submit("a", job)
        until(lambda number=number: len(answers) > number, 60)  # type: ignore[misc]
    gate = threading.Event()
    running = threading.Semaphore(0)

    def hold() -> Outcome:
        running.release()
        gate.wait(60)
        return Vanished("b")

    for _ in range(2 * most):
        crew.submit("b", hold)
    at_once = most if far else FIRST
    assert all(running.acquire(timeout=60) for _ in range(at_once))
    assert not running.acquire(blocking=False)
    gate.set()
    until(lambda: len(answers) == 8 * FIRST + 2 * most, 60)
    crew.stop(2.0)


def test_small_jobs_of_one_kind_are_done_together_and_each_has_one_answer() -> None:
    answers: list[Outcome] = []
    calls: list[tuple[str, list[str]]] = []
    gate = threading.Event()
    world = cast(World, object())

    def kind(name: str) -> Callable[[Sequence[str], World], Iterator[tuple[int, Outcome]]]:
        def do(items: Sequence[str], at: World) -> Iterator[tuple[int, Outcome]]:
            assert at is world
            calls.append((name, list(items)))
            for number in reversed(range(len(items))):  # answers come in any order
                if items[number] == "bug":
                    raise ZeroDivisionError
                yield number, Vanished(items[number])

        return do

    def hold() -> Outcome:
        gate.wait(60)
        return Vanished("held")

    crew = Crew(1, answers.append, SystemClock())
    crew.start()
    crew.submit("held", hold)
    one, other = kind("one"), kind("other")
    for number in range(10):
        crew.submit(f"one {number}", Several(f"one {number}", world, one))
    for item in ("other 0", "bug", "other 1"):
        crew.submit(item, Several(item, world, other))
    crew.submit("alone", lambda: Vanished("alone"))
    gate.set()
    until(lambda: len(answers) == 15, 60)
    crew.stop(2.0)
    assert [(name, len(items)) for name, items in calls] == [("one", 8), ("one", 2), ("other", 3)]
    by_path = {outcome.path: outcome for outcome in answers if isinstance(outcome, Vanished | Failed)}
    assert len(by_path) == 15
    failed = {path for path, outcome in by_path.items() if isinstance(outcome, Failed)}
    assert failed == {"bug", "other 0"}  # what was answered before the bug stays answered


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.integers(0, 2), max_size=40), workers=st.integers(1, 4))
def test_whatever_is_mixed_each_job_has_one_answer(kinds: list[int], workers: int) -> None:
    answers: list[Outcome] = []
    world = cast(World, object())

    def first(items: Sequence[str], at: World) -> Iterator[tuple[int, Outcome]]:
        yield from ((number, Vanished(item)) for number, item in enumerate(items))

    def second(items: Sequence[str], at: World) -> Iterator[tuple[int, Outcome]]:
        yield from first(items, at)

    crew = Crew(workers, answers.append, SystemClock())
    crew.start()
    for number, chosen in enumerate(kinds):
        path = str(number)
        alone: Callable[[], Outcome] = lambda path=path: Vanished(path)  # type: ignore[misc]  # noqa: E731
        crew.submit(path, alone if chosen == 2 else Several(path, world, first if chosen else second))
    until(lambda: len(answers) == len(kinds), 60)
    crew.stop(5.0)
    assert sorted(int(o.path) for o in answers if isinstance(o, Vanished)) == list(range(len(kinds)))


def test_side_by_side_runs_at_once_in_order_and_raises() -> None:
    gate = threading.Barrier(3, timeout=5)
    assert side_by_side(3)([lambda n=n: (gate.wait(), n)[1] for n in range(3)]) == [0, 1, 2]  # type: ignore[misc]
    assert side_by_side(3)([]) == []
    with pytest.raises(ZeroDivisionError):
        side_by_side(2)([lambda: 1 / 0, lambda: 2])


def test_journal_keeps_names_that_are_bytes_and_counts(tmp_path: Path) -> None:
    entry = Entry(0o100644, 3, 1, 2, 2**64 - 1)
    journal = Journal.at(tmp_path / "j.sqlite")
    for path in ("a/\udcff", "a/b/c", "a0", "a/d/"):
        journal.record(path, Row(entry, "v", 3, None))
    journal.record("a0", Row(entry, "v2", 5, b"m"))
    journal.commit()
    journal.close()
    journal = Journal.at(tmp_path / "j.sqlite")
    assert journal.counts() == (4, 14)
    assert set(journal.rows("a")) == {"\udcff", "d/"}
    assert {p for p, _ in journal.below("a")} == {"a/\udcff", "a/b/c", "a/d/"}
    assert journal.row("a0") == Row(entry, "v2", 5, b"m")
    journal.drop("a0")
    assert journal.counts() == (3, 9)
    journal.close()


def test_a_transaction_that_was_not_committed_is_not_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path).work()
    rig.journal.record("x", Row(Entry(0o100644, 3, 1, 2, 3), "v", 3, None))
    rig.journal._db.rollback()
    assert rig.journal.row("x") is None


def test_exit_codes_are_documented_and_mapped() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for code in ("0", "2", "3", "11", "12", "20"):
        assert code in shown
    assert [code_of(s) for s in (State.SAVED, State.SAVING, State.FENCED, State.FAILED, State.HELD)] == [
        0,
        3,
        11,
        12,
        20,
    ]


def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PREFLIGHT_STORE": f"file://{tmp_path / 'bucket'}",
        "PREFLIGHT_DATA_DIR": str(tmp_path / "data"),
        "PREFLIGHT_STATE_DIR": str(tmp_path / "state"),
    }


def test_commands_without_a_running_child(tmp_path: Path) -> None:
    run = CliRunner().invoke
    env = environ(tmp_path)
    (tmp_path / "bucket").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("one")
    (tmp_path / "data" / "empty").mkdir()
    planned = run(app, ["flush", "--dry-run", "--json"], env=env)
    assert planned.exit_code == 0
    assert run(app, ["status"], env=env).exit_code == 3
    assert run(app, ["flush"], env=env).exit_code == 0
    verified = run(app, ["verify"], env=env)
    assert (verified.exit_code, verified.stdout) == (0, "")
    assert verified.stderr.startswith("1 files are in the bucket as they are here, 0 are not")
    assert "an empty folder" in run(app, ["explain", "empty"], env=env).stdout
    status = json.loads(run(app, ["status", "--json"], env=env).stdout)
    assert (status["files"], status["state"], status["stale"]) == (2, "saved", False)
    (tmp_path / "data" / "a.txt").write_text("two!")
    verified = run(app, ["verify", "--json"], env=env)
    assert verified.exit_code == 3
    assert json.loads(verified.stdout)[0]["path"] == "a.txt"
    assert json.loads(run(app, ["flush", "--dry-run", "--json"], env=env).stdout)[0]["what"] == "put"
    assert "changed since" in run(app, ["explain", "a.txt"], env=env).stdout
    assert "ignored by default" in run(app, ["explain", "x/.~b"], env=env).stdout
    assert run(app, ["explain", "../etc"], env=env).exit_code == 2
    (tmp_path / "data" / "b.txt").write_text("stays")
    (tmp_path / "data" / "a.txt").unlink()
    assert run(app, ["flush"], env=env).exit_code == 0
    assert "a.txt" in run(app, ["trash"], env=env).stdout
    assert run(app, ["restore", "a.txt"], env=env).stdout.strip() == "a.txt"
    assert (tmp_path / "data" / "a.txt").read_text() in ("one", "two!")
    assert run(app, ["restore", "nothing"], env=env).exit_code == 3
    assert run(app, ["restore", "a.txt", "--at", "then"], env=env).exit_code == 2


def test_bad_settings_end_with_2_and_name_the_variable(tmp_path: Path) -> None:
    bad = CliRunner().invoke(app, ["run"], env={**environ(tmp_path), "PREFLIGHT_STORE": "gopher://x/y"})
    assert bad.exit_code == 2
    assert "PREFLIGHT_STORE" in bad.stderr


def test_a_status_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    file = StatusFile(tmp_path)
    assert file.read() is None
    write_status(tmp_path, Status(state=State.SAVING, pending_files=1))
    first = file.read()
    assert first is not None
    assert first.state is State.SAVING
    assert file.read() is first
    write_status(tmp_path, Status(state=State.SAVED))
    assert file.read() == read_status(tmp_path) != first
    status_path(tmp_path).write_text("{")
    assert file.read() is None
    write_status(tmp_path, Status(state=State.HELD))
    assert file.read() == read_status(tmp_path)
    status_path(tmp_path).unlink()
    assert file.read() is None
