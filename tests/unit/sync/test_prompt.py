"""A save after a while of quiet is as quick as any other: nothing waits for a wake-up that never comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sync.lease import RENEW_S, TERM_S
from tests.support.rig import Rig


@pytest.mark.parametrize("quiet_s", [0.0, 1.0, RENEW_S - 0.1, RENEW_S, RENEW_S + 0.1, TERM_S, TERM_S + 1, 45.0, 600.0])
@pytest.mark.parametrize("rested_s", [0.0, 1.0])  # of the file, when its folder is scanned
def test_a_save_after_quiet_is_quick(tmp_path: Path, quiet_s: float, rested_s: float) -> None:
    """The lease must be confirmed first: a file that was ready in the very turn that found it waited ten seconds."""
    rig = Rig(tmp_path)
    rig.write("thesis.md", "one")
    rig.sync().rest(quiet_s)
    path = rig.write("thesis.md", "two")
    at_ns = path.stat().st_mtime_ns - int(rested_s * 1e9)
    os.utime(path, ns=(at_ns, at_ns))
    rig.engine.mark("", "thesis.md")
    before_s = rig.clock.added_s
    rig.work(until=lambda: rig.object("thesis.md") == b"two")
    assert rig.clock.added_s - before_s < 0.5
