"""A bucket that stops answering while somebody works: the notebook stays, everybody says so, nothing is lost.

The long form is ten minutes: PREFLIGHT_BLACKHOLE_S=600.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_supervision import node, page
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server
from tests.support.node import Node
from tests.support.probing import Prober
from tests.support.seaweed import seaweed
from tests.support.wait import until

BLACK_S = float(os.environ.get("PREFLIGHT_BLACKHOLE_S", "15"))
pytestmark = pytest.mark.timeout(240 + BLACK_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with one bucket."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        assert running.creates_bucket("dark")
        yield running


def lag_s(one: Node) -> float:
    """The metric."""
    found = re.search(r"^sync_lag_seconds (\S+)$", one.probe("/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_blackholed_bucket_takes_nothing_away(server: S3Server, tmp_path: Path) -> None:
    with FaultProxy(server.ports[0]) as proxy:
        environ = {**server.environ("dark/folder"), "AWS_ENDPOINT_URL": proxy.url, "PREFLIGHT_STORE": ""}
        with node(tmp_path / "node", **environ) as one:
            one.wait_ready(90)
            one.wait_saved()
            (one.folder / "before.txt").write_text("before")
            one.wait_saved()
            with (
                Prober(one.probe_port, "/readyz", every_s=0.2) as ready,
                Prober(one.probe_port, "/livez", every_s=0.2) as live,
            ):
                proxy.faults = Faults(hang=True)
                proxy.drop_all()
                (one.folder / "during.txt").write_text("written in the dark")
                until(lambda: lag_s(one) > 2.0, 60, lambda: one.probe("/sync")[1][:500])
                first, at = lag_s(one), time.monotonic()
                until(lambda: time.monotonic() - at > BLACK_S, BLACK_S + 5)
                assert lag_s(one) >= first + 0.8 * BLACK_S
                until(lambda: page(one)["condition"] == "DEGRADED", 90, lambda: one.probe("/readyz?verbose"))
                assert page(one)["sync"]["state"] in ("offline", "saving")
                proxy.heal()
                one.wait_saved(120)
            assert ready.bad == []
            assert live.bad == []
            held = server.client().get_object(Bucket="dark", Key="folder/during.txt")["Body"].read()
            assert held == b"written in the dark"
            until(lambda: page(one)["condition"] == "READY", 30, lambda: one.probe("/readyz?verbose"))
