"""nvcc from its wheels, as images/gpu installs it, compiles the notebooks' program (`make images-test`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.containers import BARE, podman

IMAGE = os.environ.get("IMAGE", "localhost/preflight-lab:0.1.0-base")

pytestmark = pytest.mark.timeout(900)

# Turing to Blackwell: what CUDA 13 knows and Salad rents.
COMPILE = """
cd /tmp && nvcc --version | tail -2
nvcc -o hello /work/cuda_hello.cu -arch=sm_75
nvcc -o fat /work/cuda_hello.cu -gencode arch=compute_86,code=sm_86 -gencode arch=compute_89,code=sm_89 \
    -gencode arch=compute_120,code=sm_120 -gencode arch=compute_120,code=compute_120
nvcc -cudart shared -o shared /work/cuda_hello.cu
ls -l hello fat shared && ldd shared | grep cudart
"""


def test_nvcc_from_wheels_compiles_for_every_generation(repository: Path, tmp_path: Path) -> None:
    lend = [sys.executable, str(repository / "images" / "lend-pip-settings"), str(tmp_path)]
    mounts = subprocess.run(lend, capture_output=True, text=True, check=True).stdout
    volumes = [word for line in mounts.splitlines() for word in ("--volume", ":".join(line.split()) + ":ro")]
    said = podman(
        "run", "--rm", *BARE, "--network", "host", "--entrypoint", "/bin/bash",
        "--volume", f"{tmp_path}:/run/builder:ro", *volumes,
        "--volume", f"{repository}/notebooks:/work:ro",
        "--volume", f"{repository}/images/nvcc/requirements.txt:/tmp/requirements.txt:ro",
        "--volume", f"{repository}/images/add-nvcc:/tmp/add-nvcc:ro",
        "--env", "PIP_CONFIG_FILE=/run/builder/pip.conf", "--env", "SSL_CERT_FILE=/run/builder/ca.crt",
        IMAGE, "-euc", f"/tmp/add-nvcc /opt/nvcc /tmp/requirements.txt >&2\n{COMPILE}\ndu -sm /opt/nvcc",
        timeout_s=850,
    )  # fmt: skip
    print(said)
    assert "release 13" in said
    assert "libcudart.so.13 => /opt/nvcc" in said
