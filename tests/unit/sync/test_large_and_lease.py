"""A large upload takes longer than a lease lasts, may fill the line that the lease is confirmed over, and may fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.errors import NotFound, Transient
from sync.files import Reading
from sync.lease import TERM_S
from tests.support.rig import Rig

MIB = 1024 * 1024


def test_a_lease_that_is_late_costs_a_large_upload_no_second_pass(tmp_path: Path) -> None:
    """Parts go on without a confirmation; only publishing waits for one. (A slow line had the file hashed for ever.)"""
    rig = Rig(tmp_path)
    rig.sync()
    opened: list[str] = []
    original = rig.files.open

    def counted(path: str) -> object:
        opened.append(path)
        return original(path)

    rig.files.open = counted  # type: ignore[assignment,method-assign]

    def slow(key: str) -> None:
        rig.clock.added_s += TERM_S + 1.0  # each part takes longer than the lease lasts

    rig.store.before["put_part"] = slow

    def confirm(seconds: float) -> None:
        rig.clock.added_s += seconds
        rig.engine.lease.renew()

    rig.clock.sleep = confirm  # type: ignore[method-assign]
    rig.write("model.pt", b"x" * (40 * MIB))
    rig.sync()
    assert rig.object("model.pt") == b"x" * (40 * MIB)
    assert opened.count("model.pt") == 1
    assert rig.store.count("put_part") == 5
    assert rig.store.count("finish_upload") == 1


class Counted:
    """An open file that counts what is read of it."""

    def __init__(self, inner: Reading, pieces: list[int]) -> None:
        self._inner, self._pieces = inner, pieces
        self.entry = inner.entry

    def read_at(self, offset: int, length: int) -> bytes:
        self._pieces.append(length)
        return self._inner.read_at(offset, length)

    def check(self) -> None:
        self._inner.check()

    def is_racy(self) -> bool:
        return self._inner.is_racy()


def reads_of(rig: Rig) -> list[int]:
    """How much is read of files from now on, piece by piece."""
    pieces: list[int] = []
    original = rig.files.open

    @contextlib.contextmanager
    def counted(path: str) -> Iterator[Counted]:
        with original(path) as reading:
            yield Counted(reading, pieces)

    rig.files.open = counted  # type: ignore[assignment,method-assign]
    return pieces


@pytest.mark.parametrize("times", [1, 3])
def test_a_part_that_fails_costs_neither_a_second_pass_nor_the_other_parts(tmp_path: Path, times: int) -> None:
    rig = Rig(tmp_path)
    rig.write("kept", "kept")
    rig.sync()
    content = b"0123456789abcdef" * (40 * MIB // 16)
    rig.write("model.pt", content)
    left = [times]

    def fail(key: str) -> None:
        if rig.store.count("put_part") >= 4 and left[0]:
            left[0] -= 1
            raise Transient("All its retries failed", where=key)

    rig.store.before["put_part"] = fail
    pieces = reads_of(rig)
    rig.sync()
    assert rig.object("model.pt") == content
    assert rig.store.count("put_part") == 5 + times, "each part arrived once"
    assert rig.store.count("list_parts") == 0, "what the server acknowledged is known"
    assert rig.store.count("start_upload") == 1
    assert sum(pieces) == (40 + 40 + times * 8) * MIB, "hashed once, each part read once for each time it was sent"


def test_another_content_after_a_part_that_failed_is_another_upload(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write("kept", "kept")
    rig.sync()
    path = rig.write("model.pt", b"x" * (40 * MIB))

    def fail(key: str) -> None:
        if rig.store.count("put_part") == 4:
            path.write_bytes(b"y" * (40 * MIB))
            raise Transient("All its retries failed", where=key)

    rig.store.before["put_part"] = fail
    rig.sync()
    assert rig.object("model.pt") == b"y" * (40 * MIB)
    assert rig.store.count("abort_upload") == 1


def test_an_upload_that_the_provider_forgot_begins_anew_without_a_second_pass(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write("kept", "kept")
    rig.sync()
    rig.write("model.pt", b"x" * (40 * MIB))

    def forget(key: str) -> None:
        if rig.store.count("put_part") == 4:
            raise NotFound("NoSuchUpload", where=key)

    rig.store.before["put_part"] = forget
    pieces = reads_of(rig)
    rig.sync()
    assert rig.object("model.pt") == b"x" * (40 * MIB)
    assert rig.store.count("start_upload") == 2
    assert sum(pieces) == (40 + 40 + 4 * 8) * MIB
