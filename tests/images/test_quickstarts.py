"""The quick starts' deploy commands, run in their order as a new user would, against the fakes of both APIs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from preflight.deploy.cli import app
from tests.support.gongji_api import GongjiApi
from tests.support.salad_api import SaladApi


def commands(document: Path) -> list[list[str]]:
    """The words of every `preflight deploy` line in the document's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("preflight deploy")]
    # "…" stands for what the line before it said.
    return [shlex.split(line.replace(" …:", " registry.example/preflight-lab:"), comments=True)[2:] for line in lines]


def run_all(document: Path) -> None:
    for words in commands(document):
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, (words, result.output)
        assert "secret" not in result.output


def test_the_salad_page_works_from_top_to_bottom(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SaladApi() as fake:
        for name, value in {
            "SALAD_API_KEY": fake.key, "SALAD_ORGANIZATION": "acme", "SALAD_PROJECT": "lab", "SALAD_API_URL": fake.url,
            "JUPYTERLAB_PW": "pw-secret", "AWS_S3_BUCKET_FOLDER": "my-bucket/alice", "AWS_ACCESS_KEY_ID": "a-secret",
            "AWS_SECRET_ACCESS_KEY": "b-secret",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        run_all(repository / "docs" / "quickstart-salad.md")
        assert set(fake.groups) == {"jupyterlab001", "jupyterlab002"}
        image = fake.groups["jupyterlab001"]["container"]["image"]
        assert image == "registry.example/preflight-lab:0.2.0-pytorch-gpu"


def test_the_gongji_page_works_from_top_to_bottom(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with GongjiApi() as fake:
        for name, value in {
            "GONGJI_TOKEN": fake.token, "GONGJI_API_URL": fake.url, "JUPYTERLAB_PW": "pw-secret",
            "ALIYUN_OSS_BUCKET_FOLDER": "my-bucket/user1", "ALIYUN_OSS_ACCESS_KEY_ID": "a-secret",
            "ALIYUN_OSS_ACCESS_KEY_SECRET": "b-secret", "ALIYUN_OSS_ENDPOINT": "oss-cn-beijing.aliyuncs.com",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        run_all(repository / "docs" / "quickstart-gongji.zh.md")
        assert [task["task_name"] for task in fake.tasks.values()] == ["jupyter", "jupyter-2"]


def test_every_option_that_the_pages_name_exists(repository: Path) -> None:
    known = "".join(
        CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for command in ("salad", "gongji", "show", "pack")
    )
    known = re.sub(r"\x1b\[[0-9;]*m", "", known)
    for page in ("quickstart-salad.md", "quickstart-gongji.zh.md"):
        text = (repository / "docs" / page).read_text()
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--push"}:
            assert option in known, (page, option)


def test_the_pages_files_exist(repository: Path) -> None:
    for page in ("quickstart-docker.md", "quickstart-salad.md", "quickstart-gongji.zh.md"):
        text = (repository / "docs" / page).read_text()
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert link.startswith("clouds/") or (repository / "docs" / link).exists(), (page, link)
