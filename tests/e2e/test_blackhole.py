"""A bucket that stops answering while somebody works: the notebook stays, everybody says so, nothing is lost.

The long form is ten minutes: PREFLIGHT_BLACKHOLE_S=600 (with -s it prints the figures).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_supervision import page
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server
from tests.support.node import Browser, Node, notebook
from tests.support.probing import Prober
from tests.support.seaweed import seaweed
from tests.support.wait import until

BLACK_S = float(os.environ.get("PREFLIGHT_BLACKHOLE_S", "15"))
pytestmark = pytest.mark.timeout(600 + BLACK_S)


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


def lab_says(browser: Browser) -> str:
    """What JupyterLab's own page is told about saving."""
    seen = browser.session.get(f"{browser.url}/preflight/api/snapshot", timeout=30).json()["sync"]
    return "stale" if seen["stale"] else str(seen["status"]["state"])


def test_a_blackholed_bucket_takes_nothing_away(server: S3Server, tmp_path: Path) -> None:
    with FaultProxy(server.ports[0]) as proxy:
        environ = {**server.environ("dark/folder"), "AWS_ENDPOINT_URL": proxy.url}
        with Node(tmp_path / "node", environ) as one:
            one.wait_ready(120)
            one.wait_saved()
            browser = one.browser()
            usual = page(one)["condition"]  # READY; DEGRADED where this busy machine answered a check late
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
                browser.save("dark.ipynb", notebook("saved = 'in the dark'"))
                first, began_s = lag_s(one), time.monotonic()
                until(lambda: lag_s(one) >= first + 0.8 * BLACK_S, BLACK_S + 60, lambda: one.probe("/sync")[1][:500])
                until(lambda: lab_says(browser) == "offline", 180, lambda: lab_says(browser))
                until(lambda: page(one)["sync"]["state"] == "offline", 180, lambda: page(one)["sync"])
                until(lambda: page(one)["condition"] == "DEGRADED", 180, lambda: one.probe("/readyz?verbose"))
                until(lambda: time.monotonic() - began_s >= BLACK_S, BLACK_S)
                longest_s, said = lag_s(one), page(one)["why"]
                proxy.heal()
                healed_s = time.monotonic()
                until(lambda: {"during.txt", "dark.ipynb"} <= stored(server), 180, lambda: one.probe("/sync")[1][:500])
                one.wait_saved(120)
                back_s = time.monotonic() - healed_s
            assert ready.bad == []
            assert live.bad == []
            held = server.client().get_object(Bucket="dark", Key="folder/during.txt")["Body"].read()
            assert held == b"written in the dark"
            until(lambda: lab_says(browser) == "saved", 90, lambda: lab_says(browser))
            until(lambda: page(one)["condition"] == usual, 60, lambda: one.probe("/readyz?verbose"))
    print(
        f"dark for {BLACK_S:.0f} s: lag {longest_s:.0f} s, {said!r}; all saved {back_s:.1f} s after its return; "
        f"/readyz 200 in all of {len(ready.took)} answers, /livez in all of {len(live.took)}"
    )


def stored(server: S3Server) -> set[str]:
    """What the bucket holds of the folder."""
    listed = server.client().list_objects_v2(Bucket="dark", Prefix="folder/").get("Contents", ())
    return {str(one["Key"]).removeprefix("folder/") for one in listed}
