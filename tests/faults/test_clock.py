"""A real process whose wall clock is set while it runs. The kernel's stamps and the monotonic clock stay true."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.fakeclock import FakeClock
from tests.support.synced import Machine, tree_of

Machines = Callable[..., Machine]
DAY_S = 86_400


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S], ids=["+1day", "-1day"])
def test_clock_jumps_of_a_real_process(
    file_bucket: Mapping[str, str], machines: Machines, tmp_path: Path, jump_s: int
) -> None:
    """Saves go on, nothing is deleted or doubled, a notebook that was being saved is not taken for debris."""
    clock = FakeClock(tmp_path)
    machine = machines(file_bucket, **clock.environ).start()
    (machine.data / "before").write_text("one")
    (machine.data / "gone").write_text("to be deleted")
    machine.saved()
    clock.set(jump_s)
    (machine.data / "before").write_text("two, after the jump")
    (machine.data / "after").write_text("new")
    future = machine.data / "future"
    future.write_text("of the day after tomorrow")
    os.utime(future, (future.stat().st_mtime + 2 * DAY_S,) * 2)
    (machine.data / "gone").unlink()
    machine.saved()
    assert set(machine.keys()) == {"before", "after", "future"}
    status = machine.status()
    assert status is not None
    believed_s = status.updated_at - (machine.state / "sync" / "status.json").stat().st_mtime
    assert abs(believed_s - jump_s) < 1800, "the process did not see the jump"
    clock.set(0)
    (machine.data / "after").write_text("changed when the clock was right again")
    machine.saved()
    assert machine.stop() == 0
    other = machines(file_bucket, "other").start()
    assert tree_of(other.data) == tree_of(machine.data)
    assert not [name for name in other.keys() if "(conflict" in name]  # noqa: SIM118
