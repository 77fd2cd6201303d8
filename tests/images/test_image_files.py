"""What every image must be, read from its files: short tests that need no builder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.deploy.flavours import FLAVOURS
from preflight.deploy.variables import FORWARDED

FLAVOUR_FOLDERS = ("base", "cpu", "pytorch-gpu", "tensorflow-gpu")


@pytest.fixture(scope="module")
def images(repository: Path) -> Path:
    return repository / "images"


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def dockerfiles(images: Path) -> list[Path]:
    return sorted(images.glob("*/Dockerfile"))


def test_hadolint_has_nothing_to_say(images: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    files = dockerfiles(images)
    assert [path.parent.name for path in files] == ["flavour", "gpu", "runtime", "toolkit"]
    done = subprocess.run([hadolint, "-c", images / ".hadolint.yaml", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_process_of_a_container_is_tini_and_gets_sigterm(images: Path) -> None:
    said = dict(instructions(images / "runtime" / "Dockerfile"))
    assert json.loads(said["ENTRYPOINT"]) == ["/usr/bin/tini", "--", "/usr/local/bin/preflight", "up"]
    assert said["STOPSIGNAL"] == "SIGTERM"
    healthcheck = said["HEALTHCHECK"].partition("CMD ")[2]
    assert json.loads(healthcheck)[:3] == ["/usr/local/bin/preflight", "probe", "live"]


def test_flavours_keep_the_entrypoint_and_put_the_toolkit_last(images: Path) -> None:
    for folder in ("flavour", "gpu"):
        names = [name for name, _ in instructions(images / folder / "Dockerfile")]
        assert not {"ENTRYPOINT", "CMD", "USER", "STOPSIGNAL", "HEALTHCHECK", "WORKDIR"} & set(names), folder
    said = instructions(images / "flavour" / "Dockerfile")
    frameworks = next(at for at, (name, rest) in enumerate(said) if name == "RUN" and "add-frameworks" in rest)
    toolkit = next(at for at, (name, rest) in enumerate(said) if name == "COPY" and "/opt/toolkit" in rest)
    assert frameworks < toolkit


def test_nothing_that_changes_with_a_release_comes_before_the_frameworks(images: Path) -> None:
    """A version in an earlier layer would build and pull gigabytes again."""
    for folder in ("runtime", "gpu"):
        assert not re.search(r"(?m)^ARG VERSION", (images / folder / "Dockerfile").read_text()), folder
    text = (images / "flavour" / "Dockerfile").read_text()
    assert text.index("add-frameworks") < text.index("ARG VERSION")


def test_folders_and_variables_are_those_of_the_contract(images: Path) -> None:
    environment = " ".join(rest for name, rest in instructions(images / "runtime" / "Dockerfile") if name == "ENV")
    for setting in (
        "PREFLIGHT_DATA_DIR=/root/data", "PREFLIGHT_STATE_DIR=/var/lib/preflight", "PREFLIGHT_EMBEDDED_STORE=0",
        "PREFLIGHT_KERNEL_PYTHON=/opt/user/bin/python", "SHELL=/bin/bash", "PATH=/opt/user/bin:",
    ):  # fmt: skip
        assert setting in environment, setting


def test_every_install_is_locked(images: Path) -> None:
    for dockerfile in dockerfiles(images):
        assert not [rest for _, rest in instructions(dockerfile) if "pip install" in rest], dockerfile  # scripts do
    for script in ("add-toolkit", "add-frameworks", "add-nvcc"):
        lines = [line for line in (images / script).read_text().splitlines() if re.search(r"pip\"? install", line)]
        assert lines, script
        assert all("--require-hashes" in line or "--no-index" in line for line in lines), script


def test_a_builders_pip_settings_are_a_secret_of_each_download(images: Path) -> None:
    """Build arguments stay in the image's history; addresses of mirrors can hold passwords."""
    for dockerfile in dockerfiles(images):
        for name, rest in instructions(dockerfile):
            if name == "RUN" and re.search(r"add-(frameworks|nvcc|toolkit dependencies)", rest):
                assert "--mount=type=secret,id=pip" in rest, dockerfile
            assert not (name == "ARG" and "PIP" in rest), dockerfile


def test_no_address_and_no_secret_is_in_an_image_file(images: Path) -> None:
    for path in images.rglob("*"):
        if path.is_file() and path.suffix not in {".md", ".hcl"} and "node_modules" not in path.parts:
            text = path.read_text()
            assert not re.search(r"https?://(?!127\.|localhost)", text), path
            assert not re.search(r"(?m)^(ARG|ENV)\b.*(PASSWORD|SECRET|TOKEN|_PW)", text), path


def test_bases_are_pinned_and_given_by_an_argument(images: Path) -> None:
    for dockerfile in dockerfiles(images):
        text = dockerfile.read_text()
        assert ":latest" not in text
        froms = re.findall(r"(?m)^FROM (\S+)", text)
        assert set(froms) <= {"${BASE_IMAGE}", "${SYSTEM}", "preflight-runtime", "preflight-toolkit"}, dockerfile
    assert re.search(r"(?m)^ARG BASE_IMAGE=debian:bookworm-slim$", (images / "runtime" / "Dockerfile").read_text())
    assert re.search(r"(?m)^ARG SYSTEM=preflight-runtime$", (images / "flavour" / "Dockerfile").read_text())


def test_labels_and_manifest_are_in_every_image(images: Path) -> None:
    text = "".join((images / folder / "Dockerfile").read_text() for folder in ("runtime", "flavour"))
    for label in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in text, label
    assert "manifest.py --flavour" in text
    assert "> /opt/preflight/image.json" in text


# --- locks ---------------------------------------------------------------------------------------------------------


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)==(\S+)", lock.read_text()))


def locks(images: Path) -> list[tuple[Path, Path]]:
    """(wishes, lock) of every flavour."""
    return [(path, path.with_suffix(".txt")) for path in sorted(images.glob("*/requirements*.in"))]


def wishes(path: Path) -> list[str]:
    """The names that a requirements.in asks for, those it includes too."""
    names = []
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            names += wishes(path.parent / line[3:])
        elif line:
            names.append(re.split(r"[\[<>=!~ ]", line)[0].lower().replace("_", "-"))
    return names


def test_every_wish_is_in_its_lock(images: Path) -> None:
    assert len(locks(images)) == 7
    for wished, lock in locks(images):
        assert set(wishes(wished)) <= set(pins(lock)), lock


def test_locks_hold_hashes_for_everything_and_no_host(images: Path) -> None:
    for _, lock in locks(images):
        text = lock.read_text()
        assert "://" not in text, lock
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert all("--hash=sha256:" in block for block in blocks), lock


def test_what_the_documents_list_is_in_every_flavour(images: Path) -> None:
    for folder in FLAVOUR_FOLDERS[1:]:
        for lock in (images / folder).glob("requirements*.txt"):
            have = pins(lock)
            for name in (
                "transformers",
                "datasets",
                "accelerate",
                "sentencepiece",
                "matplotlib",
                "ipywidgets",
                "ipykernel",
            ):
                assert name in have, (lock, name)


def test_the_pytorch_image_is_built_for_what_the_platform_guarantees(images: Path) -> None:
    main = pins(images / "pytorch-gpu" / "requirements.txt")
    assert main["torch"].startswith("2.10.")
    assert main["nvidia-cuda-runtime-cu12"].startswith("12.8.")
    newest = pins(images / "pytorch-gpu" / "requirements-cu13.txt")
    assert newest["nvidia-cuda-runtime"].startswith("13.")
    assert not [name for name in newest if name.endswith("-cu12")]


def test_no_image_carries_cuda_twice(images: Path) -> None:
    tensorflow = pins(images / "tensorflow-gpu" / "requirements.txt")
    assert tensorflow["torch"].endswith("+cpu")
    cpu = pins(images / "cpu" / "requirements.txt")
    assert cpu["torch"].endswith("+cpu")
    assert [name for name in cpu if name.startswith("nvidia-") or name == "triton"] == []


def test_a_whole_nvcc_is_locked(images: Path) -> None:
    have = pins(images / "nvcc" / "requirements.txt")
    assert set(have) == {
        "nvidia-cuda-nvcc",
        "nvidia-cuda-crt",
        "nvidia-nvvm",
        "nvidia-cuda-runtime",
        "nvidia-cuda-cccl",
    }
    assert "images/nvcc/requirements.txt" in (images / "gpu" / "Dockerfile").read_text()


# --- bake, compose, kubernetes ------------------------------------------------------------------------------------


def bake_targets(images: Path) -> dict[str, str]:
    text = (images / "docker-bake.hcl").read_text()
    return dict(re.findall(r'(?ms)^target "([\w-]+)" \{(.*?)^\}', text))


def test_bake_knows_every_flavour_and_its_files(images: Path) -> None:
    targets = bake_targets(images)
    for flavour in FLAVOURS:
        said = targets[flavour]
        assert f'"${{REGISTRY}}${{NAME}}:${{VERSION}}-{flavour}"' in said
        assert re.search(rf'FLAVOUR\s*= "{flavour}"', said)
        (lock,) = re.findall(r'LOCK\s*= "(\S+)"', said)
        assert (images / lock).is_file()
        assert ('inherits = ["gpu-flavour"]' in said) == FLAVOURS[flavour].wants_gpu
        assert bool(re.search(r'SYSTEM\s*= "preflight-gpu"', said)) == FLAVOURS[flavour].wants_gpu
    # buildx sets push=true on an output of this kind; one that names another kind would not be pushed at all.
    assert "type=image,compression=zstd,compression-level=11,force-compression=true" in targets["gpu-flavour"]
    for dockerfile in re.findall(r'dockerfile = "(\S+)"', "".join(targets.values())):
        assert (images.parent / dockerfile).is_file()


def test_bake_and_the_builder_without_docker_build_the_same(images: Path) -> None:
    """Two recipes for one image: the arguments of docker-bake.hcl are those of images/build."""
    script = (images / "build").read_text()
    calls = {words[0]: words[1:] for words in map(shlex.split, re.findall(r"\) flavour (.+?) ;;", script))}
    assert set(calls) == set(FLAVOURS)
    for flavour, (lock, system, title) in calls.items():
        said = dict(re.findall(r'(LOCK|SYSTEM|TITLE)\s*= "([^"]+)"', bake_targets(images)[flavour]))
        assert {"SYSTEM": "preflight-runtime", **said} == {"LOCK": lock, "SYSTEM": system, "TITLE": title}


def test_each_dockerfile_ignores_the_same(images: Path) -> None:
    ignores = {path.read_text() for path in images.glob("*/Dockerfile.dockerignore")}
    assert len(list(images.glob("*/Dockerfile.dockerignore"))) == len(dockerfiles(images))
    assert len(ignores) == 1
    assert ignores.pop().startswith("#")


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def test_compose_gives_time_to_flush_and_room_to_share(images: Path) -> None:
    (compose,) = documents(images / "deploy" / "compose.yaml")
    lab = compose["services"]["lab"]
    assert lab["stop_grace_period"] == "45s"
    assert lab["shm_size"] == "2g"
    assert tuple(lab["environment"]) == FORWARDED
    assert all(port.startswith("127.0.0.1:") for port in lab["ports"])
    (gpu,) = documents(images / "deploy" / "compose.gpu.yaml")
    assert gpu["services"]["lab"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_kubernetes_never_restarts_for_a_reason_outside_the_supervisor(images: Path) -> None:
    secret, deployment, service = documents(images / "deploy" / "kubernetes.yaml")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    (lab,) = pod["containers"]
    assert lab["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert lab["startupProbe"]["periodSeconds"] * lab["startupProbe"]["failureThreshold"] >= 100
    assert lab["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert lab["livenessProbe"]["periodSeconds"] * lab["livenessProbe"]["failureThreshold"] >= 60
    assert lab["readinessProbe"]["httpGet"]["path"] == "/readyz"
    flush_s = float(next(item["value"] for item in lab["env"] if item["name"] == "PREFLIGHT_FLUSH_TIMEOUT_S"))
    assert pod["terminationGracePeriodSeconds"] > flush_s
    assert set(secret["stringData"]) <= set(FORWARDED)
    assert {port["port"] for port in service["spec"]["ports"]} == {8000, 8001}


# --- scripts -------------------------------------------------------------------------------------------------------


def test_scripts_parse(images: Path) -> None:
    for name in ("build", "debian-base", "install-builder", "lock", "size"):
        subprocess.run(["bash", "-n", images / name], check=True)
    for name in ("add-toolkit", "add-frameworks", "add-nvcc", "entrypoint"):
        subprocess.run(["sh", "-n", images / name], check=True)


def test_a_builder_lends_its_pip_settings_and_no_more(images: Path, tmp_path: Path) -> None:
    wheels, index = tmp_path / "wheels", tmp_path / "mirror" / "simple"
    wheels.mkdir()
    index.mkdir(parents=True)
    certificates = tmp_path / "ca.pem"
    certificates.write_text("CA")
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nfind-links = {wheels}\nextra-index-url = file://{index}\nuser = true\ncert = {certificates}\n"
    )
    lent = tmp_path / "lent"
    lent.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path), "PIP_TIMEOUT": "99"}
    done = subprocess.run(
        [sys.executable, images / "lend-pip-settings", lent],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    mounts = dict(line.split() for line in done.stdout.splitlines() if str(tmp_path) in line)
    assert set(mounts) == {str(wheels), str(index.parent)}
    written = (lent / "pip.conf").read_text()
    assert f"find-links = {mounts[str(wheels)]}" in written
    assert f"extra-index-url = file://{mounts[str(index.parent)]}/simple" in written
    assert "timeout = 99" in written
    assert "user" not in written
    assert (lent / "ca.crt").read_text() == "CA"


def test_the_manifest_of_an_environment_without_frameworks(images: Path) -> None:
    from preflight.image import parse_image

    command = [sys.executable, str(images / "manifest.py"), "--flavour", "base", "--version", "1.2.3"]
    written = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert written["frameworks"] == {}
    assert written["packages"]["jupyterlab"]
    assert "cuda" not in written
    assert parse_image(written).toolkit is None
