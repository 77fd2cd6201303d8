"""The checks that read sync's own status."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from preflight.checks import Broken, Context, NotExpected
from preflight.checks.saving import measure_expiry, measure_lag, measure_upload
from preflight.errors import Unmeasured
from preflight.model import Blame
from sync.status import State, Status, write_status
from sync.stores.config import file_config
from sync.stores.variables import store_configs
from tests.support.clocks import StillClock


class Sender(StillClock):
    """While somebody waits, sync sends 1 MB a second."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__()
        self.state_dir = state_dir

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.write()

    def write(self) -> None:
        sent = int(1_000_000 * self.passed_s)
        status = Status(
            state=State.SAVING,
            pending_files=1,
            pending_bytes=50_000_000,
            bytes_sent=sent,
            pid=os.getpid(),
            updated_at=self.now(),
        )
        write_status(self.state_dir, status)


def context(tmp_path: Path, clock: StillClock, **environ: str) -> Context:
    return Context(environ=environ, state_dir=tmp_path, stores=(file_config(tmp_path / "bucket"),), clock=clock)


def test_lag_counts_the_silence(tmp_path: Path) -> None:
    clock = StillClock()
    status = Status(state=State.SAVING, pending_files=2, oldest_pending_s=30.0, updated_at=clock.now())
    write_status(tmp_path, status)
    clock.sleep(10)
    assert measure_lag(context(tmp_path, clock)).value == 40.0
    clock.sleep(60)
    with pytest.raises(Broken, match="nothing for 70 s"):
        measure_lag(context(tmp_path, clock))


def test_nothing_pending_is_no_lag(tmp_path: Path) -> None:
    clock = StillClock()
    write_status(tmp_path, Status(state=State.SAVED, updated_at=clock.now()))
    assert measure_lag(context(tmp_path, clock)).value == 0.0


def test_failed_is_the_accounts(tmp_path: Path) -> None:
    clock = StillClock()
    write_status(tmp_path, Status(state=State.FAILED, why="denied", hint="a new key", updated_at=clock.now()))
    with pytest.raises(Broken) as raised:
        measure_lag(context(tmp_path, clock))
    assert raised.value.blame is Blame.ACCOUNT


def test_without_a_status_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured):
        measure_lag(context(tmp_path, StillClock()))
    with pytest.raises(NotExpected):
        measure_lag(Context(state_dir=tmp_path))


def test_upload_is_what_was_sent(tmp_path: Path) -> None:
    clock = Sender(tmp_path)
    clock.write()
    assert measure_upload(context(tmp_path, clock)).value == pytest.approx(1_000_000, rel=0.01)


def test_upload_needs_something_to_send(tmp_path: Path) -> None:
    clock = StillClock()
    write_status(tmp_path, Status(state=State.SAVED, updated_at=clock.now()))
    with pytest.raises(NotExpected):
        measure_upload(context(tmp_path, clock))


def test_a_sas_tokens_end(tmp_path: Path) -> None:
    clock = StillClock()  # 2027-01-15T08:00:00Z

    def left(sas: str) -> float | str:
        stores = store_configs(
            {"AZURE_CONTAINER_URL": "https://account.blob.core.windows.net/box", "AZURE_BLOB_SAS_TOKEN": sas}
        )
        return measure_expiry(Context(state_dir=tmp_path, stores=stores, clock=clock)).value

    assert left("sv=2022&se=2027-01-15T09%3A00%3A00Z&sig=x") == 3600.0
    with pytest.raises(Broken, match="AZURE_BLOB_SAS_TOKEN"):
        left("sv=2022&se=2026-01-01T00%3A00%3A00Z&sig=x")
    with pytest.raises(NotExpected):
        measure_expiry(context(tmp_path, clock))
