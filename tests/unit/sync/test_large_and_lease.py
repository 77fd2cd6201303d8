"""A large upload takes longer than a lease lasts, and may fill the very line that the lease is confirmed over."""

from __future__ import annotations

from pathlib import Path

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
