"""From nothing to a notebook that survives its node, through the commands that a user types."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.imds import fake_imds
from tests.support.moto import S3Server
from tests.support.node import Node, notebook
from tests.support.seaweed import seaweed
from tests.support.wait import until

pytestmark = pytest.mark.timeout(180)

BUCKET = "people"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with one bucket."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        assert running.creates_bucket(BUCKET)
        yield running


def tree(folder: Path) -> dict[str, str]:
    """Path to content hash of everything a user would see."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".preflight")
    }


def user_files(folder: Path) -> list[Path]:
    """Everything in the folder but our own."""
    return [path for path in folder.rglob("*") if ".preflight" not in path.relative_to(folder).parts]


def test_a_notebook_survives_its_node(server: S3Server, tmp_path: Path) -> None:
    environ = server.environ(f"{BUCKET}/spine")
    first = Node(tmp_path / "first", environ)
    with first:
        until(lambda: first.probe("/livez")[0] == 200, 10, first.output)
        first.wait_ready()
        for host in ("127.0.0.1", "[::1]"):
            assert first.probe("/livez", host)[0] == 200
            assert first.probe("/readyz", host)[0] == 200
        first.wait_saved()
        browser = first.browser("[::1]")
        browser.save("thesis.ipynb", notebook("answer = 42"))
        # The shipped notebooks too: what is in the folder is in the bucket before anything is counted.
        until(
            lambda: first.sync()["files"] == sum(path.is_file() for path in user_files(first.folder)), 60, first.output
        )
        first.wait_saved()
        before = dict(first.sync()["requests"])  # type: ignore[call-overload]

        client = server.client()
        body = notebook("answer = 42", "print(answer)")
        started = time.monotonic()
        browser.save("thesis.ipynb", body)

        def stored() -> bool:
            held = client.get_object(Bucket=BUCKET, Key="spine/thesis.ipynb")["Body"].read()
            return ["".join(cell["source"]) for cell in json.loads(held)["cells"]] == ["answer = 42", "print(answer)"]

        until(stored, 5, first.output)
        assert time.monotonic() - started < 2.0  # the goal is 1 s; the machine may be busy
        first.wait_saved()
        after = dict(first.sync()["requests"])  # type: ignore[call-overload]
        assert after.get("put", 0) - before.get("put", 0) <= 2  # one save; a lease renewal may fall in between
        assert after.get("list", 0) == before.get("list", 0)
        assert after.get("head", 0) == before.get("head", 0)
        expected = tree(first.folder)
        first.vanish()
        assert not first.folder.exists()

    with Node(tmp_path / "second", environ) as second:
        second.wait_ready()
        assert tree(second.folder) == expected


def test_an_unfit_salad_node_is_handed_back_once(server: S3Server, tmp_path: Path) -> None:
    with fake_imds() as imds:
        environ = {
            **server.environ(f"{BUCKET}/reject"),
            "SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-000000000001",
            "SALAD_CONTAINER_GROUP_ID": "group-1",
            "SALAD_METADATA_URI": imds.url,
            "PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": str(10**18),
        }
        with Node(tmp_path / "node", environ) as node:
            until(lambda: imds.reallocations, 40, node.output)
            until(lambda: dict(node.report().get("action") or {}).get("kind") == "reallocate", 10, node.output)  # type: ignore[call-overload]
            assert node.report()["verdict"] == "reject"
            assert node.probe("/livez")[0] == 200
            assert node.probe("/startupz")[0] == 503
            assert node.probe("/readyz")[0] == 503
            reason = imds.reallocations[0]
            assert "disk.free" in reason
            assert len(reason) <= 1000
            assert not node.exited()
            assert len(imds.reallocations) == 1
            assert "jupyter" not in " ".join(command_lines(node))


def command_lines(node: Node) -> list[str]:
    """What runs below the supervisor."""
    import psutil

    assert node.process is not None
    return [" ".join(child.cmdline()) for child in psutil.Process(node.process.pid).children(recursive=True)]
