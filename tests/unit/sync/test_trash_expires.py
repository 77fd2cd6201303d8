"""The trash keeps what was deleted for 30 days by the server's clock, whatever the node's says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sync.engine import EXPIRE_FIRST_S
from tests.support.rig import Rig

DAY_S = 86_400.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    for name in ("kept", "old", "new"):
        rig.write(name, name)
    rig.sync()
    for name in ("old", "new"):
        (rig.data / name).unlink()
    return rig.sync()


def trash(rig: Rig) -> set[str]:
    return {key.rpartition("/")[2] for key in rig.objects(ours=True) if key.startswith(".preflight/trash/")}


def a_while_later(rig: Rig) -> Rig:
    """The engine gets to its daily look, with something to save that confirms the lease."""
    rig.clock.added_s += EXPIRE_FIRST_S
    rig.write("kept", f"changed {rig.clock.added_s}")
    return rig.sync().rest(30.0)


@pytest.mark.parametrize("jump_s", [40 * DAY_S, -40 * DAY_S], ids=["ahead", "behind"])
def test_a_wrong_clock_empties_no_trash(rig: Rig, jump_s: float) -> None:
    rig.clock.jumped_s = jump_s
    a_while_later(rig)
    assert trash(rig) == {"old", "new"}


@pytest.mark.parametrize("jump_s", [0.0, -40 * DAY_S], ids=["right", "behind"])
def test_trash_is_emptied_after_30_days(rig: Rig, jump_s: float) -> None:
    [path] = rig.bucket.glob(".preflight/trash/*/old")
    long_ago_s = time.time() - 31 * DAY_S
    os.utime(path, (long_ago_s, long_ago_s))
    rig.clock.jumped_s = jump_s
    a_while_later(rig)
    assert trash(rig) == {"new"}
