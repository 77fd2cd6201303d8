"""What a person does after a while of quiet is as quick as ever: nothing waits for a wake-up that never comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sync.lease import RENEW_S, TERM_S
from tests.support.rig import Rig

QUIET_S = (0.0, 1.0, RENEW_S - 0.1, RENEW_S, RENEW_S + 0.1, TERM_S, TERM_S + 1, 45.0, 600.0)


@pytest.mark.parametrize("quiet_s", QUIET_S)
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


def _age(path: Path) -> None:
    at_ns = path.lstat().st_mtime_ns - 1_000_000_000
    os.utime(path, ns=(at_ns, at_ns), follow_symlinks=False)


def _delete(rig: Rig) -> Callable[[], bool]:
    (rig.data / "thesis.md").unlink()
    return lambda: "thesis.md" not in rig.objects()


def _rename(rig: Rig) -> Callable[[], bool]:
    (rig.data / "thesis.md").rename(rig.data / "final.md")
    return lambda: rig.objects() == {"final.md", "other.md"}


def _link(rig: Rig) -> Callable[[], bool]:
    (rig.data / "link").symlink_to("thesis.md")
    _age(rig.data / "link")
    return lambda: "link" in rig.objects()


def _make_folder(rig: Rig) -> Callable[[], bool]:
    (rig.data / "results").mkdir()
    _age(rig.data / "results")
    return lambda: "results/" in rig.objects()


def _chmod(rig: Rig) -> Callable[[], bool]:
    (rig.data / "thesis.md").chmod(0o755)
    return lambda: rig.store.inner.head("thesis.md").meta.get("mode", "").endswith("755")


def _save_into_new_folder(rig: Rig) -> Callable[[], bool]:
    _age(rig.write("results/run/1.csv", "1"))
    return lambda: rig.object("results/run/1.csv") == b"1"


@pytest.mark.parametrize("quiet_s", QUIET_S)
@pytest.mark.parametrize("act", [_delete, _rename, _link, _make_folder, _chmod, _save_into_new_folder])
def test_whatever_comes_after_quiet_is_quick(
    tmp_path: Path, quiet_s: float, act: Callable[[Rig], Callable[[], bool]]
) -> None:
    """Deletes wait a second on purpose: a rename shows its other half within it."""
    rig = Rig(tmp_path)
    rig.write("thesis.md", "one")
    rig.write("other.md", "other")
    rig.sync().rest(quiet_s)
    is_done = act(rig)
    rig.engine.mark("")
    before_s = rig.clock.added_s
    rig.work(until=is_done)
    assert rig.clock.added_s - before_s < 2.0
