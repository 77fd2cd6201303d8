"""The monitor's ladder, real processes against Salad's metadata service: saved first, one step, never in a circle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preflight.app_metrics import socket_path
from preflight.reporting import VARIABLE, report_metric
from tests.e2e.test_clouds import on
from tests.support.fakegpu import profile
from tests.support.imds import FakeImds, fake_imds
from tests.support.jupyter import Client
from tests.support.node import Node
from tests.support.prober_platforms import SALAD
from tests.support.wait import until

pytestmark = pytest.mark.timeout(600)
AT_ONCE = {"PREFLIGHT_MONITOR_ACTION": "reallocate", "PREFLIGHT_MONITOR_EVERY_S": "1"}


def tokens(bucket: Path) -> list[Path]:
    """What the ledger says was granted."""
    return list((bucket / ".preflight" / "ledger").rglob("tokens/*"))


def test_a_lost_gpu_is_cured_by_a_restart_or_handed_back_after_it(tmp_path: Path) -> None:
    gone, bucket = tmp_path / "gone", tmp_path / "node" / "bucket"
    gpu = profile("wsl2-581").but(values={"LOST": "0", "LOST_WHILE": str(gone)})
    fakes = {name: text for name, text in gpu.environ().items() if name != "PATH"}
    with on(SALAD, tmp_path / "node", **AT_ONCE, **fakes, PREFLIGHT_EXPECT_GPU="1") as (one, imds):
        one.wait_ready(120)
        one.wait_saved(90)
        (one.folder / "thesis.txt").write_text("saved before anything is done")
        gone.touch()
        until(lambda: imds.posted("/v1/restart"), 120, lambda: one.output()[-3000:])
        assert (bucket / "thesis.txt").read_text() == "saved before anything is done"
        # The platform does what it was asked for: the same container, the same disk.
        assert one.terminate(90) == 0
        gone.unlink()
        one.start()
        one.wait_ready(120)
        assert one.report()["verdict"] == "accept"
        assert [len(imds.posted("/v1/restart")), len(imds.reallocations), len(tokens(bucket))] == [1, 0, 0]
        # Lost again: a restart was tried on this node, so the next step is another node, by its token.
        gone.touch()
        until(lambda: imds.reallocations, 120, lambda: one.output()[-3000:])
        assert "gpu.count" in imds.reallocations[0]
        assert [len(imds.posted("/v1/restart")), len(imds.reallocations), len(tokens(bucket))] == [1, 1, 1]
        assert one.probe("/livez")[0] == 200


def test_a_full_disk_is_recreated_once_although_that_forgets_everything(tmp_path: Path) -> None:
    # Reported at the start, acted upon by the monitor: as when the folder itself fills the disk after the checks.
    environ = {**AT_ONCE, "PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": str(10**18), "PREFLIGHT_ON_REJECT": "report"}
    bucket = {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket"}
    with on(SALAD, tmp_path / "first", **environ, **bucket) as (one, imds):
        one.wait_ready(90)
        (one.folder / "thesis.txt").write_text("saved before anything is done")
        until(lambda: imds.posted("/v1/recreate"), 90, lambda: one.output()[-3000:])
        assert (tmp_path / "bucket" / "thesis.txt").read_text() == "saved before anything is done"
        assert one.terminate(90) == 0
        assert len(imds.posted("/v1/recreate")) == 1
    with on(SALAD, tmp_path / "second", **environ, **bucket) as (one, imds):  # a fresh disk on the same machine
        one.wait_ready(90)
        until(lambda: "it was recreated for this before" in one.output(), 90, lambda: one.output()[-3000:])
        assert (one.folder / "thesis.txt").read_text() == "saved before anything is done"
        assert not imds.posted("/v1/recreate")
        assert imds.reallocations == []


@contextmanager
def lab_on_salad(home: Path, **environ: str) -> Iterator[tuple[Node, FakeImds]]:
    """JupyterLab itself on a Salad node."""
    with fake_imds() as imds:
        place = {
            "SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-0000000000bb",
            "SALAD_METADATA_URI": imds.url,
            "PREFLIGHT_STORE": f"file://{home.parent}/bucket",
        }
        with Node(home, {**place, **environ}) as one:
            yield one, imds


def test_a_busy_kernel_is_not_left_and_an_idle_notebook_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(socket_path(tmp_path / "node" / "state")))
    environ = {
        "PREFLIGHT_MONITOR_ACTION": "reallocate-when-idle", "PREFLIGHT_MONITOR_EVERY_S": "1", "PREFLIGHT_IDLE_S": "5",
        "PREFLIGHT_METRIC_WINDOW_S": "2.5", "PREFLIGHT_METRIC_RTF_AT_LEAST": "20",
    }  # fmt: skip
    finish = tmp_path / "finish"
    with lab_on_salad(tmp_path / "node", **environ) as (one, imds):
        one.wait_ready(120)
        one.wait_saved(90)
        client = Client(f"http://127.0.0.1:{one.port}")
        assert client.post_login("correct horse").status_code == 302
        cell = f"import os, time\nwhile not os.path.exists({str(finish)!r}):\n    print('.'); time.sleep(0.5)"
        work = threading.Thread(target=client.run, args=(cell, 400.0))
        work.start()
        try:
            until(lambda: imds.deletion_cost == 500, 150, lambda: imds.deletion_cost)  # a cell runs
            slow_until(lambda: "app.rtf" in one.probe("/page.json")[1], one)
            # Confirmed and allowed, and yet: the next turns see a kernel that computes.
            bucket = tmp_path / "bucket"
            moved = bucket.with_name("away")
            bucket.rename(moved)
            bucket.write_text("in the way: nothing can be stored")
            (one.folder / "pending.txt").write_text("a" * 1000)
            slow_until(lambda: imds.deletion_cost == 1000, one)  # bytes wait: more than a running cell
            bucket.unlink()
            moved.rename(bucket)
            slow_until(lambda: imds.deletion_cost == 500, one)
            assert imds.reallocations == []
        finally:
            finish.touch()
            work.join(60)
        slow_until(lambda: imds.reallocations, one)
        until(lambda: imds.deletion_cost == 0, 60, lambda: imds.deletion_cost)  # idle: Salad may take it first
        assert (bucket / "pending.txt").read_text() == "a" * 1000
        assert len(tokens(bucket)) == 1


def slow_until(condition: object, one: Node) -> None:
    """Report a bad metric until the condition holds."""
    assert callable(condition)
    until(lambda: (report_metric("rtf", 5.0, better="higher"), condition())[1], 120, lambda: one.output()[-3000:])
