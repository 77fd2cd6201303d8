"""Wrong settings through the real command: one message a fault, each naming its variable, and no partial start."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.support.imds import fake_imds
from tests.support.node import Node
from tests.support.wait import until


def refused(home: Path, environ: dict[str, str]) -> str:
    """The output of a start that must end with exit code 2 and leave nothing behind."""
    with Node(home, environ) as node:
        until(node.exited, 60, node.output)
        assert node.process is not None
        assert node.process.returncode == 2, node.output()
        assert not node.folder.exists()
        return node.output()


@pytest.mark.parametrize(
    ("environ", "variables"),
    [
        ({"PREFLIGHT_STORE": "ftp://somewhere/else"}, ["PREFLIGHT_STORE"]),
        ({"AWS_S3_BUCKET_FOLDER": "b/f", "AWS_ACCESS_KEY_ID": "id"}, ["AWS_SECRET_ACCESS_KEY"]),
        ({"PREFLIGHT_PORT": "80001", "PREFLIGHT_ON_REJECT": "maybe"}, ["PREFLIGHT_PORT", "PREFLIGHT_ON_REJECT"]),
        (
            {"PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": "much", "PREFLIGHT_PLATFORM": "saladd"},
            ["PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST", "PREFLIGHT_PLATFORM"],
        ),
        ({"PREFLIGHT_DATA_DIR": "/proc/version"}, ["PREFLIGHT_DATA_DIR"]),
    ],
)
def test_every_fault_is_named_at_once(tmp_path: Path, environ: dict[str, str], variables: list[str]) -> None:
    output = refused(tmp_path / "node", environ)
    problems = [json.loads(line).get("problem", "") for line in output.splitlines() if line.startswith("{")]
    for variable in variables:
        assert sum(problem.startswith(variable) for problem in problems) == 1, output
    assert "Traceback" not in output


@pytest.mark.parametrize("variable", ["PREFLIGHT_PORT", "PREFLIGHT_PROBE_PORT"])
def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        output = refused(tmp_path / "node", {variable: str(taken.getsockname()[1])})
    assert f"{variable}: port" in output
    assert "preflight starts" not in output


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    secret = "not-for-the-log-9f3"
    output = refused(
        tmp_path / "node", {"JUPYTERLAB_PW": secret, "PREFLIGHT_PORT": "x", "AWS_SECRET_ACCESS_KEY": secret}
    )
    assert secret not in output


def test_on_a_platform_the_container_stays_up_and_says_why(tmp_path: Path) -> None:
    with fake_imds() as imds:
        environ = {
            "SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-000000000009",
            "SALAD_METADATA_URI": imds.url,
            "AWS_S3_BUCKET_FOLDER": "bucket/folder",
            "AWS_ACCESS_KEY_ID": "id",
        }
        with Node(tmp_path / "node", environ) as node:
            until(lambda: "AWS_SECRET_ACCESS_KEY" in node.probe("/report")[1], 60, node.output)
            assert node.probe("/livez")[0] == 200
            assert node.probe("/startupz")[0] == 200  # another node would have the same settings
            assert node.probe("/readyz")[0] == 503
            assert node.probe("/readyz?page=1")[0] == 200
            assert "AWS_SECRET_ACCESS_KEY" in node.probe("/page.json")[1]
            assert "AWS_SECRET_ACCESS_KEY" in node.output()
            assert not imds.reallocations
            assert node.terminate() == 0


def test_a_salad_node_whose_metadata_service_is_silent_is_not_burned(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {
            "SALAD_MACHINE_ID": "5f0c3a52-0000-4000-8000-00000000000e",
            "SALAD_METADATA_URI": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "PREFLIGHT_ON_REJECT": "maybe",
        }
        with Node(tmp_path / "node", environ) as node:
            until(lambda: "PREFLIGHT_ON_REJECT" in node.probe("/report")[1], 60, node.output)
            assert node.probe("/startupz")[0] == 200
            assert node.terminate() == 0
