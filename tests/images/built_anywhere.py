"""Bring your own image: the three lines of images/README.md on several Debians, built and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.containers import container

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.timeout(1200)


# As on an image whose own python3 is too old, with a newer one to be had beside it (Ubuntu 22.04).
OLDER = "RUN printf '#!/bin/sh\\nexit 1\\n' > /usr/local/bin/python3 && chmod 0755 /usr/local/bin/python3\n"
BASES = {"bookworm": ("bookworm", ""), "an-older-python": ("bookworm", OLDER), "trixie": ("trixie", "")}


@pytest.fixture(params=BASES)
def image(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example's own words, on a Debian without Python or with one that is no use."""
    suite, before = BASES[request.param]
    base = "preflight-debian" if suite == "bookworm" else f"preflight-debian-{suite}"
    if subprocess.run(["buildah", "inspect", "--type", "image", base], capture_output=True).returncode:
        environ = {**os.environ, "SUITE": suite, "NAME": base}
        subprocess.run([repository / "images" / "debian-base"], env=environ, check=True, capture_output=True)
    readme = (repository / "images" / "README.md").read_text()
    (lines,) = re.findall(r"```dockerfile\n(.*?)```", readme, re.DOTALL)
    assert lines.count("\n") == 4  # FROM and the three lines
    context = tmp_path_factory.mktemp("context")
    (context / "images").mkdir()
    for name in ("add-toolkit", "entrypoint"):
        shutil.copy(repository / "images" / name, context / "images" / name)
    shutil.copy(repository / "requirements.txt", context)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(context / "dist")]
    subprocess.run(build, cwd=repository, check=True, capture_output=True)
    lent = tmp_path_factory.mktemp("lent")
    mounts = subprocess.run(
        [sys.executable, repository / "images" / "lend-pip-settings", lent], capture_output=True, text=True, check=True
    ).stdout
    volumes = [word for line in mounts.splitlines() for word in ("--volume", ":".join(line.split()) + ":ro")]
    # What a builder behind its own mirror would add; with a plain network the three lines stand alone.
    settings = "ARG SSL_CERT_FILE\nARG PIP_CONFIG_FILE\n" if (lent / "ca.crt").exists() else "ARG PIP_CONFIG_FILE\n"
    text = lines.replace("FROM your/image:1.0\n", f"FROM localhost/{base}\n{settings}{before}")
    (context / "Dockerfile").write_text(text)
    command = [
        "buildah", "bud", "--isolation", "chroot", "--network", "host", "--format", "docker", "--quiet",
        "--volume", f"{lent}:/run/builder:ro", *volumes, "--build-arg", "PIP_CONFIG_FILE=/run/builder/pip.conf",
        *(["--build-arg", "SSL_CERT_FILE=/run/builder/ca.crt"] if (lent / "ca.crt").exists() else []),
        "--tag", f"preflight-anywhere:{request.param}", str(context),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return f"localhost/preflight-anywhere:{request.param}"


def test_three_lines_make_any_image_a_preflight_image(image: str) -> None:
    with container(image, {"JUPYTERLAB_PW": PASSWORD, "PREFLIGHT_EXPECT_GPU": "0"}) as started:
        started.wait_ready(180)
        client = started.login(PASSWORD)
        assert client.run("print(6 * 7)").strip() == "42"
        assert "tini" in started.sh("/bin/sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline")
        assert started.sh("ls", "-A", "/tmp").split() == [] or "preflight" not in started.sh("ls", "-A", "/tmp")
        code, _ = started.stop()
        assert code == 0, started.log()
