"""The settings page says what the code reads, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from preflight.variables import page, unknown

NAMES = re.compile(r"[\"'`](PREFLIGHT_[A-Z0-9_]*[A-Z0-9])[\"'`]")
PREFIXES = {"PREFLIGHT_NVML", "PREFLIGHT_CUDA", "PREFLIGHT_LIMIT", "PREFLIGHT_EXPECT", "PREFLIGHT_METRIC"}


def test_the_page_is_up_to_date(repository: Path) -> None:
    assert (repository / "docs" / "settings.md").read_text() == page(), "run: preflight settings > docs/settings.md"


def test_every_variable_in_the_code_is_on_the_page(repository: Path) -> None:
    listed = page()
    missing = {
        name
        for folder in ("preflight", "sync")
        for path in (repository / folder).rglob("*.py")
        if path.parent.name != "deploy"
        for name in NAMES.findall(path.read_text())
        if f"`{name}`" not in listed and name not in PREFIXES
    }
    assert missing == set()


def test_misspelt_settings_are_told_with_the_nearest() -> None:
    told = unknown({"PREFLIGHT_PROT": "9", "PREFLIGHT_PORT": "9", "PREFLIGHT_METRIC_RTF_AT_LEAST": "2", "OTHER": "x"})
    assert told == ["PREFLIGHT_PROT is not a setting; did you mean PREFLIGHT_PORT?"]
