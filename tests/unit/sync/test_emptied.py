"""A machine that lost its power leaves files empty, short or full of zeros: none of that costs the good object."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.errors import Unsupported
from sync.host import boot_of
from tests.support.rig import Rig

GOOD = '{"cells": ["months of work"]}'


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.write("thesis.ipynb", GOOD)
    rig.write("other", "other")
    return rig.sync()


def trash(rig: Rig) -> list[bytes | None]:
    return [rig.object(key) for key in rig.objects(ours=True) if key.startswith(".preflight/trash/")]


@pytest.mark.parametrize("left", [b"", bytes(len(GOOD)), GOOD[:9].encode()], ids=["empty", "zeros", "short"])
def test_power_cut_leaves_a_torn_file(rig: Rig, left: bytes) -> None:
    """After another start of the kernel nothing local is believed: the bucket's version has the name."""
    rig.write("thesis.ipynb", left)
    rig.kernel = "boot 2"
    rig.next_life().work()
    assert rig.read("thesis.ipynb") == GOOD
    assert rig.object("thesis.ipynb") == GOOD.encode()


@pytest.mark.parametrize("left", [b"", bytes(len(GOOD))], ids=["empty", "zeros"])
@pytest.mark.parametrize("copies", [True, False], ids=["copies", "relays"])
def test_an_emptied_file_keeps_the_last_version_in_the_trash(tmp_path: Path, left: bytes, copies: bool) -> None:
    """Also where nobody can tell that the machine was started again, and where a person emptied it by mistake."""
    rig = Rig(tmp_path, facts={"copy": copies})
    rig.write("thesis.ipynb", GOOD)
    rig.sync()
    rig.write("thesis.ipynb", left)
    rig.next_life().work()
    assert rig.object("thesis.ipynb") == left
    assert trash(rig) == [GOOD.encode()]


def test_a_file_that_was_empty_before_costs_one_put(rig: Rig) -> None:
    rig.write("new", "")
    rig.sync()
    rig.store.log.clear()
    rig.write("new", "words")
    rig.sync()
    rig.write("new", "more words")
    rig.sync()
    assert trash(rig) == []
    assert rig.store.count("put") == 2
    assert rig.store.count("copy") == 0


def test_what_cannot_be_kept_is_not_emptied(rig: Rig) -> None:
    def refuse(key: str) -> None:
        raise Unsupported("too large to be kept", where=key)

    rig.store.before["copy"] = refuse
    rig.write("thesis.ipynb", "")
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.problems)
    assert rig.object("thesis.ipynb") == GOOD.encode()


def test_the_start_of_the_kernel_is_told_in_sandboxes_too(tmp_path: Path) -> None:
    assert boot_of(tmp_path) == ""
    (tmp_path / "stat").write_text("cpu  1 2\nbtime 1795315893\nprocesses 3\n")
    assert boot_of(tmp_path) == "btime 1795315893"
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("1c6b\n")
    assert boot_of(tmp_path) == "1c6b"
