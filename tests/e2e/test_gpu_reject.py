"""A rented node whose GPU is broken is handed back once, by name of the fault; one that only looked so is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakegpu import profile
from tests.support.imds import fake_imds
from tests.support.node import Node
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)


def test_a_stuck_bit_costs_the_node_even_without_a_bucket(tmp_path: Path) -> None:
    gpu = profile("wsl2-581").but(cuda={"STUCK": "0xabcde:0x10"})
    with fake_imds() as imds:
        environ = salad(imds.url) | {name: text for name, text in gpu.environ().items() if name != "PATH"}
        with Node(tmp_path / "node", environ) as node:
            until(lambda: imds.reallocations, 90, node.output)
            reason = imds.reallocations[0]
            assert "gpu.memory_errors" in reason
            assert node.probe("/livez")[0] == 200
            assert node.probe("/startupz")[0] == 503
            assert not node.exited()
            assert len(imds.reallocations) == 1


def test_a_passing_flip_opens_jupyterlab(tmp_path: Path) -> None:
    gpu = profile("wsl2-581").but(cuda={"FLIP": "2:0x54321:0x400"})
    with fake_imds() as imds:
        environ = salad(imds.url) | {name: text for name, text in gpu.environ().items() if name != "PATH"}
        with Node(tmp_path / "node", environ) as node:
            node.wait_ready(120)
            assert node.report()["verdict"] == "degraded"
            assert imds.reallocations == []


def test_a_missing_gpu_is_restarted_first_and_only_then_handed_back(tmp_path: Path) -> None:
    gpu = profile("wsl2-581").but(values={"COUNT": "0"})
    with fake_imds() as imds:
        environ = salad(imds.url) | {name: text for name, text in gpu.environ().items() if name != "PATH"}
        environ |= {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket"}
        with Node(tmp_path / "node", environ) as node:
            until(lambda: imds.posted("/v1/restart"), 90, node.output)
            until(lambda: node.probe("/report")[0] == 200, 90, node.output)
            assert (node.report()["action"]["kind"], imds.reallocations) == ("restart", [])
            assert node.probe("/livez")[0] == 200
            # The platform does as it was asked: the same container, the same disk, and still no GPU.
            assert node.terminate(90) == 0
            node.start()
            until(lambda: imds.reallocations, 90, node.output)
            assert "gpu.count" in imds.reallocations[0]
            assert len(imds.posted("/v1/restart")) == 1


def salad(url: str) -> dict[str, str]:
    """A Salad node with a GPU and no bucket."""
    return {
        "SALAD_MACHINE_ID": "m-1",
        "SALAD_CONTAINER_GROUP_ID": "group",
        "SALAD_METADATA_URI": url,
        "PREFLIGHT_EXPECT_GPU": "1",
        "PREFLIGHT_EMBEDDED_STORE": "0",
    }
