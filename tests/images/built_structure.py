"""The built images, judged by tools of others: container-structure-test inside the image, dive on its layers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.containers import BARE, PODMAN, inspect, podman

IMAGE = os.environ.get("IMAGE", "localhost/preflight-lab:0.1.0-base")
TOOLS = Path(os.environ.get("IMAGE_TOOLS", ".cache/image-tools")).absolute()  # made by `make images-test`

pytestmark = pytest.mark.timeout(900)


def test_the_structure_is_as_described(repository: Path, tmp_path: Path) -> None:
    (judge,) = TOOLS.glob("lib/python*/site-packages/container_structure_test/bin/container-structure-test")
    tool = tmp_path / "tool"
    shutil.copy(judge, tool)
    tool.chmod(0o755)
    (tmp_path / "metadata.json").write_text(json.dumps({"config": inspect(IMAGE)["Config"]}))
    names = ["structure.yaml", *(["structure-gpu.yaml"] if "-gpu" in IMAGE else [])]
    configs = [word for name in names for word in ("--config", f"/judge/{name}")]
    said = subprocess.run(
        [
            *PODMAN, "run", "--rm", *BARE, "--network", "none", "--entrypoint", "/judge/tool",
            "--volume", f"{tool}:/judge/tool:ro", "--volume", f"{tmp_path}/metadata.json:/judge/metadata.json:ro",
            *(word for name in names for word in ("--volume", f"{repository}/tests/images/{name}:/judge/{name}:ro")),
            IMAGE, "test", "--driver", "host", "--force", "--metadata", "/judge/metadata.json",
            "--output", "json", *configs,
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "{" in said.stdout, said.stderr
    verdict = json.loads(said.stdout[said.stdout.index("{") :])  # after a warning about the host driver
    failed = [result for result in verdict["Results"] if not result["Pass"]]
    assert failed == [], said.stderr
    assert verdict["Total"] >= 20
    print(f"\ncontainer-structure-test: {verdict['Pass']} of {verdict['Total']}")


def test_no_layer_writes_again_what_another_wrote(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    podman("save", "--quiet", "--format", "docker-archive", "--output", str(archive), IMAGE, timeout_s=600)
    try:
        said = subprocess.run(
            [
                TOOLS / "bin" / "dive", "--ci", "--source", "docker-archive", archive,
                "--lowestEfficiency", "0.97", "--highestUserWastedPercent", "0.05",
            ],
            capture_output=True, text=True, env={**os.environ, "CI": "true"},
        )  # fmt: skip
    finally:
        archive.unlink()
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-1000:]
    print(
        "\n" + "\n".join(line.strip() for line in said.stdout.splitlines() if "efficiency" in line or "wasted" in line)
    )


def test_no_layer_and_no_history_keeps_where_packages_came_from() -> None:
    """A builder's mirrors can have passwords in their addresses: neither those nor their mounts may be readable."""
    history = podman("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE)
    assert not re.search(r"https?://(?!127\.0\.0\.1)", history)
    assert not re.search(r"(?i)(password|secret|token)=", history)
    files = "--include=*.json --include=*.conf --include=*.cfg /opt /etc /root /usr/local"
    look = f"grep -rlsI -e /run/builder -e find-links {files}"
    inside = [*BARE, "--rm", "--network", "none", "--entrypoint", "/bin/sh"]
    assert podman("run", *inside, IMAGE, "-c", f"{look} || true").split() == []
