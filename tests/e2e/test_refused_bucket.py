"""A bucket that refuses: on one's own machine a clear end, on a platform an open notebook and a loud word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_supervision import node, page
from tests.support.imds import fake_imds
from tests.support.moto import S3Server, moto
from tests.support.node import Node
from tests.support.seaweed import seaweed
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, S3Server]]:
    """One that checks signatures, and one that does not make buckets by itself."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as strict, moto(tmp_path_factory.mktemp("moto")) as sober:
        assert strict.creates_bucket("mine")
        assert sober.creates_bucket("mine")
        yield strict, sober


def wrongly(fault: str, servers: tuple[S3Server, S3Server]) -> dict[str, str]:
    """The environment of that fault."""
    server = servers[fault == "no such bucket"]
    return {**server.environ("mine/folder"), "PREFLIGHT_STORE": "", **FAULTS[fault][0]}


FAULTS = {
    "no such bucket": ({"AWS_S3_BUCKET_FOLDER": "not-there/folder"}, "AWS_S3_BUCKET_FOLDER"),
    "a wrong key": ({"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, "AWS_SECRET_ACCESS_KEY"),
    "an unknown id": ({"AWS_ACCESS_KEY_ID": "nobody"}, "AWS_ACCESS_KEY_ID"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_on_ones_own_machine_it_ends_with_the_variable(
    fault: str, servers: tuple[S3Server, S3Server], tmp_path: Path
) -> None:
    variable = FAULTS[fault][1]
    with Node(tmp_path / "node", wrongly(fault, servers)) as one:
        until(one.exited, 60, one.output)
        assert one.process is not None
        assert one.process.returncode == 2, one.output()[-3000:]
        last = [line for line in one.output().splitlines() if "wrong settings" in line]
        assert last, one.output()[-3000:]
        assert variable in last[0], last
        assert '"service": "app"' not in one.output()
        assert 'wrong"' not in one.output() or fault != "a wrong key"


@pytest.mark.parametrize("fault", FAULTS)
def test_on_a_platform_the_notebook_opens_with_a_warning(
    fault: str, servers: tuple[S3Server, S3Server], tmp_path: Path
) -> None:
    with fake_imds() as imds:
        place = {"SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-0000000000bb", "SALAD_METADATA_URI": imds.url}
        with node(tmp_path / "node", **wrongly(fault, servers), **place) as one:
            one.wait_ready(90)
            until(lambda: page(one)["condition"] == "DEGRADED", 60, lambda: page(one)["why"])
            assert one.probe("/startupz")[0] == 200
            assert "[!]sync" in one.probe("/readyz?verbose")[1]
            assert page(one)["sync"]["state"] in ("failed", "offline")
            assert page(one)["warnings"]
            assert imds.reallocations == []
