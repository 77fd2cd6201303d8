"""`preflight deploy gongji` against a real HTTP server with the documented bodies, codes and signature."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typer.testing import CliRunner, Result

from preflight.deploy.cli import app
from tests.support.gongji_api import GongjiApi, said

ARGUMENTS = ["gongji", "jupyter", "--image", "harbor.example/lab:0.1.0-pytorch-gpu", "--device", "4090"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[GongjiApi]:
    with GongjiApi() as server:
        for name, value in {
            "GONGJI_TOKEN": server.token, "GONGJI_API_URL": server.url, "JUPYTERLAB_PW": "pw-secret",
            "ALIYUN_OSS_BUCKET_FOLDER": "b/user1", "ALIYUN_OSS_ACCESS_KEY_ID": "id",
            "ALIYUN_OSS_ACCESS_KEY_SECRET": "oss-secret",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield server


def deploy(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_a_task_is_created_in_the_cheapest_region(fake: GongjiApi) -> None:
    result = deploy(*ARGUMENTS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "name": "jupyter", "task_id": 1229831, "address": "https://deployment-5-8vxr7frs-8000.550w.link",
    }  # fmt: skip
    (sent,) = fake.bodies("/api/deployment/task/create")
    assert sent["resources"][0]["mark"] == "mark-4090-hebei"
    assert sent["points"] == 1
    lines = sent["services"][0]["env"].splitlines()
    assert "PREFLIGHT_PLATFORM=gongji" in lines
    assert "ALIYUN_OSS_ACCESS_KEY_SECRET=oss-secret" in lines
    assert "secret" not in result.output


def test_dry_run_masks_and_sends_nothing(fake: GongjiApi) -> None:
    result = deploy(*ARGUMENTS, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "secret" not in result.stdout
    assert fake.tasks == {}


def test_an_update_overwrites_with_everything_that_was_read(fake: GongjiApi) -> None:
    deploy(*ARGUMENTS)
    assert deploy(*ARGUMENTS).exit_code == 0
    assert fake.bodies("/api/deployment/task/update") == []
    assert deploy(*ARGUMENTS, "--env", "EPOCHS=3").exit_code == 20
    result = deploy(*ARGUMENTS, "--env", "EPOCHS=3", "--restart")
    assert result.exit_code == 0, result.output
    (task,) = fake.tasks.values()
    assert "EPOCHS=3" in task["services"][0]["env"].splitlines()


def test_show_and_apply_again(fake: GongjiApi, tmp_path: Path) -> None:
    deploy(*ARGUMENTS)
    file = tmp_path / "task.json"
    assert deploy("show", "jupyter", "--platform", "gongji", "-o", str(file)).exit_code == 0
    assert "secret" not in file.read_text()
    assert deploy("gongji", "jupyter-2", "--from", str(file)).exit_code == 0
    first, second = fake.bodies("/api/deployment/task/create")
    assert second["services"][0]["env"] == first["services"][0]["env"]
    assert deploy("show", "nope", "--platform", "gongji").exit_code == 4


@pytest.mark.parametrize("form", ["pem", "base64"])
def test_keys_that_are_not_in_simple_mode_sign_every_request(
    fake: GongjiApi, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    fake.public_key = key.public_key()
    assert deploy(*ARGUMENTS).exit_code == 12
    encoding = serialization.Encoding.PEM if form == "pem" else serialization.Encoding.DER
    raw = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    monkeypatch.setenv("GONGJI_PRIVATE_KEY", raw.decode() if form == "pem" else base64.b64encode(raw).decode())
    assert deploy(*ARGUMENTS).exit_code == 0
    monkeypatch.setenv("GONGJI_PRIVATE_KEY", "nonsense")
    assert deploy(*ARGUMENTS).exit_code == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (said("1002", "token 无效"), 12),
        (said("4001", "请求过于频繁"), 3),
        (said("5000", "库存不足"), 1),
        ((200, b'{"data": {}}'), 1),
        ((403, b"<html><title>Forbidden</title></html>"), 12),
    ],
)
def test_failures_have_their_own_exit_code(fake: GongjiApi, answer: tuple[int, bytes], code: int) -> None:
    fake.planned = [answer]
    result = deploy(*ARGUMENTS)
    assert result.exit_code == code, result.output
    assert fake.token not in result.output


def test_what_is_missing_is_told(fake: GongjiApi, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no 9090 in stock" in deploy(*ARGUMENTS[:-1], "9090").stderr
    fake.tasks = {1: {"task_id": 1, "task_name": "jupyter"}, 2: {"task_id": 2, "task_name": "jupyter"}}
    assert "2 tasks are called" in deploy(*ARGUMENTS).stderr
    monkeypatch.delenv("GONGJI_TOKEN")
    assert deploy(*ARGUMENTS).exit_code == 12
