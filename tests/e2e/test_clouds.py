"""Every start and fault path under the probers of Salad and Gongji: no node is lost without a token."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_supervision import APP, child, node, page
from tests.support.imds import FakeImds, fake_imds
from tests.support.node import Node
from tests.support.prober_platforms import GONGJI, SALAD, Cloud, CloudProber
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
ENOUGH = 12  # rounds of the prober after the fault: twice any probe's threshold


@contextmanager
def on(cloud: Cloud, home: Path, command: tuple[str, ...] = (), **environ: str) -> Iterator[tuple[Node, FakeImds]]:
    """A node on that cloud."""
    with fake_imds() as imds:
        place = (
            {"SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-0000000000aa", "SALAD_METADATA_URI": imds.url}
            if cloud is SALAD
            else {"PREFLIGHT_PLATFORM": "gongji", "HOSTNAME": "deployment-5-abc"}
        )
        with node(home, command=command, **place, **environ) as one:
            yield one, imds


def survives(prober: CloudProber, imds: FakeImds, rounds: int = ENOUGH) -> None:
    """Nothing happens to the node for so many rounds."""
    until_round = prober.rounds + rounds
    until(lambda: prober.rounds >= until_round or prober.done, 120, lambda: prober.rounds)
    assert prober.done == []
    assert imds.reallocations == []
    assert not imds.posted("/v1/restart")
    assert not imds.posted("/v1/recreate")


CLOUDS = pytest.mark.parametrize("cloud", [SALAD, GONGJI], ids=lambda cloud: cloud.name)


@CLOUDS
def test_a_running_node_is_kept_whatever_dies_or_hangs(cloud: Cloud, tmp_path: Path) -> None:
    with on(cloud, tmp_path / "node") as (one, imds), CloudProber(cloud, one.probe_port) as prober:
        one.wait_ready()
        until(lambda: prober.started and prober.ready, 60, one.output)
        survives(prober, imds)
        for words in ("app.py", "preflight-sync"):
            child(one, words).kill()
            survives(prober, imds)
            one.wait_ready()
            frozen = child(one, words)
            frozen.send_signal(signal.SIGSTOP)
            survives(prober, imds)
            frozen.send_signal(signal.SIGCONT)
            one.wait_ready()


@CLOUDS
def test_wrong_settings_do_not_cost_the_node(cloud: Cloud, tmp_path: Path) -> None:
    environ = {"AWS_S3_BUCKET_FOLDER": "bucket/folder", "AWS_ACCESS_KEY_ID": "id", "PREFLIGHT_STORE": ""}
    with on(cloud, tmp_path / "node", **environ) as (one, imds), CloudProber(cloud, one.probe_port) as prober:
        until(lambda: prober.started, 60, one.output)
        survives(prober, imds)
        assert not one.exited()
        assert page(one)["condition"] == "FAILED"
        assert prober.ready  # so that the gateway shows the page with the reason


@CLOUDS
def test_a_bucket_that_does_not_answer_does_not_cost_the_node(cloud: Cloud, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, says nothing
        environ = {
            "PREFLIGHT_STORE": "",
            "AWS_S3_BUCKET_FOLDER": "bucket/folder",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "PREFLIGHT_OPEN_OFFLINE_AFTER_S": "3",
        }
        with on(cloud, tmp_path / "node", **environ) as (one, imds), CloudProber(cloud, one.probe_port) as prober:
            one.wait_ready(90)  # the notebook opens all the same
            survives(prober, imds)
            assert page(one)["condition"] == "DEGRADED"
            assert page(one)["warnings"]


@CLOUDS
def test_an_app_that_always_dies_does_not_cost_the_node(cloud: Cloud, tmp_path: Path) -> None:
    with (
        on(cloud, tmp_path / "node", command=("/bin/false",)) as (one, imds),
        CloudProber(cloud, one.probe_port) as prober,
    ):
        until(lambda: page(one)["services"] and page(one)["services"][-1]["restarts"] >= 2, 60, one.output)
        survives(prober, imds)
        assert not one.exited()


def test_an_unfit_node_without_a_token_is_kept(tmp_path: Path) -> None:
    environ = {"PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": str(10**18), "PREFLIGHT_REALLOCATIONS": "0"}
    with on(SALAD, tmp_path / "node", **environ) as (one, imds), CloudProber(SALAD, one.probe_port) as prober:
        one.wait_ready()
        survives(prober, imds)
        assert one.report()["verdict"] == "degraded"
        assert "preflight_budget_tokens_remaining 0.0" in one.probe("/metrics")[1]


def test_an_unfit_node_with_a_token_is_handed_back_once_and_waits(tmp_path: Path) -> None:
    environ = {"PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": str(10**18)}
    with on(SALAD, tmp_path / "node", **environ) as (one, imds):
        until(lambda: imds.reallocations, 60, one.output)
        until(lambda: one.probe("/startupz")[0] == 503 and page(one)["condition"] == "DRAINING", 60, one.output)
        assert one.probe("/livez")[0] == 200
        assert one.probe("/readyz?page=1")[0] == 503
        assert list((tmp_path / "node" / "bucket" / ".preflight").rglob("*token*"))
        assert len(imds.reallocations) == 1
        assert one.terminate() == 0


class Hasty(Node):
    """A node that waits two seconds, not two minutes, to be stopped after it was handed back."""

    def start(self) -> None:
        code = (
            "import os, sys; from preflight import logs; from preflight.launch import Launch; "
            "from sync.clock import SystemClock; logs.configure(os.environ); "
            "sys.exit(Launch(dict(os.environ), sys.argv[1:], SystemClock(), gone_within_s=2.0).run())"
        )
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *self.command[2:]],
                env=self.environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


def test_a_node_that_is_not_stopped_after_all_is_used_and_not_asked_for_again(tmp_path: Path) -> None:
    with fake_imds() as imds:
        environ = {
            "PREFLIGHT_STORE": f"file://{tmp_path}/bucket",
            "PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": str(10**18),
            "SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-0000000000cc",
            "SALAD_METADATA_URI": imds.url,
        }
        words = ("up", "--", sys.executable, str(APP))
        with Hasty(tmp_path / "node", environ, command=words) as one:
            until(lambda: imds.reallocations, 60, one.output)
            one.wait_ready()
            assert one.probe("/startupz")[0] == 200
            report = one.report()
            assert report["verdict"] == "degraded"
            assert "still alive" in str(report["action"])
            assert len(imds.reallocations) == 1


def test_an_unfit_node_that_nobody_may_hand_back_is_used(tmp_path: Path) -> None:
    environ = {"PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": str(10**18), "PREFLIGHT_ON_REJECT": "report"}
    with on(SALAD, tmp_path / "node", **environ) as (one, imds), CloudProber(SALAD, one.probe_port) as prober:
        one.wait_ready()
        survives(prober, imds)
        assert one.report()["verdict"] == "reject"
        assert page(one)["condition"] == "DEGRADED"


BUG = (
    "import os, sys\n"
    "from preflight import logs\n"
    "from preflight.launch import Launch\n"
    "from sync.clock import SystemClock\n"
    "class Buggy(Launch):\n"
    "    def _examine(self):\n"
    "        raise RuntimeError('a bug of ours')\n"
    "logs.configure(os.environ)\n"
    "sys.exit(Buggy(dict(os.environ), sys.argv[1:], SystemClock()).run())\n"
)


@pytest.mark.parametrize("on_platform", [True, False])
def test_a_bug_of_ours_costs_no_node(on_platform: bool, tmp_path: Path) -> None:
    with fake_imds() as imds:
        place = {"SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-0000000000dd", "SALAD_METADATA_URI": imds.url}
        one = Node(
            tmp_path / "node", {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket", **(place if on_platform else {})}
        )
        with one.log.open("ab") as out:
            one.process = subprocess.Popen(
                [sys.executable, "-c", BUG],
                env=one.environ,
                cwd=one.home,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            if not on_platform:
                assert one.process.wait(40) == 1
                return
            with CloudProber(SALAD, one.probe_port) as prober:
                until(lambda: prober.started, 60, one.output)
                survives(prober, imds)
                assert "a bug of its own" in one.probe("/startupz?verbose")[1]
            assert one.terminate() == 0
        finally:
            one.vanish()
