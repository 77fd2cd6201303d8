"""JupyterLab itself under the supervisor: killed, it comes back; while it is away its port shows the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.e2e.test_supervision import child, page, pid_of
from tests.support.node import Node
from tests.support.probing import Prober
from tests.support.recovery import Record, back_in_time
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)


def test_it_comes_back_and_its_activity_is_known(tmp_path: Path, record_property: Record) -> None:
    with Node(tmp_path / "node", {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket"}) as node:
        node.wait_ready(90)
        node.wait_saved()
        browser = node.browser()
        started = browser.session.post(
            f"{browser.url}/api/kernels",
            json={"name": "python3"},
            headers={"X-XSRFToken": browser.session.cookies["_xsrf"]},
            timeout=60,
        )
        assert started.status_code == 201, started.text
        activity = tmp_path / "node" / "state" / "lab" / "activity.json"
        until(lambda: activity.exists() and json.loads(activity.read_text())["kernels"] == 1, 60, node.output)
        sync = pid_of(node, "preflight-sync")
        (node.folder / "before.txt").write_text("before")
        with Prober(node.probe_port) as prober, back_in_time("preflight-jupyter-lab", "open", record_property):
            child(node, "jupyter-lab").kill()
            until(lambda: node.probe("/readyz")[0] == 503, 60)
            node.wait_ready(90)
        assert prober.bad == []
        assert pid_of(node, "preflight-sync") == sync
        until(lambda: _logged_in(browser.session, browser.url), 60, node.output)  # the cookie still holds
        services = {one["name"]: one for one in page(node)["services"]}
        assert services["app"]["restarts"] == 1
        until(lambda: "its last lines" in node.output(), 60, node.output)  # told when its kernel has let go of the pipe
        node.wait_saved()
        assert (tmp_path / "bucket" / "before.txt").read_text() == "before"
        assert node.terminate(60) == 0


def _logged_in(session: requests.Session, url: str) -> bool:
    return session.get(f"{url}/api/status", timeout=10).status_code == 200


@pytest.mark.parametrize("stage", ["checking", "restoring"])
def test_stopped_in_an_early_stage(stage: str, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    for number in range(300):
        (bucket / f"{number}.txt").write_text("kept")
    with Node(tmp_path / "node", {"PREFLIGHT_STORE": f"file://{bucket}"}) as node:
        what = {"checking": "examine-node", "restoring": "preflight-sync"}[stage]
        until(lambda: pid_of(node, what), 60, node.output)
        assert node.terminate(60) == 0, node.output()[-2000:]
    assert {path.name for path in bucket.glob("*.txt")} == {f"{number}.txt" for number in range(300)}
