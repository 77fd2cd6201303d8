"""Code and commands in the pages that we wrote can at least be read by the programs that they are for."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

PAGES = ("probes.md", "operations.md")
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_fenced_examples_parse(page: str, repository: Path) -> None:
    blocks = FENCE.findall((repository / "docs" / page).read_text())
    assert blocks
    for language, text in blocks:
        match language:
            case "python":
                ast.parse(text)
            case "json":
                json.loads(text)


@pytest.mark.parametrize("page", PAGES)
def test_variables_and_links_exist(page: str, repository: Path) -> None:
    text = (repository / "docs" / page).read_text()
    settings = (repository / "docs" / "settings.md").read_text()
    for name in set(re.findall(r"`(PREFLIGHT_[A-Z_]+)", text)):
        if not name.startswith("PREFLIGHT_METRIC_"):
            assert f"`{name}`" in settings, name
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (repository / "docs" / link).exists(), link


def test_the_probe_specs_are_those_that_the_emulators_run(repository: Path) -> None:
    from tests.support.prober_platforms import GONGJI, SALAD

    text = (repository / "docs" / "probes.md").read_text()
    for cloud in (SALAD, GONGJI):
        for spec in (cloud.startup, cloud.live, cloud.ready):
            assert f'"path": "{spec.path}"' in text
