"""`docs/sync.md` says what the code does: ignores, settings, commands, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sync import cli, settle
from sync.ignore import DEFAULTS
from sync.progress import line
from sync.status import Progress, State, Status


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "sync.md").read_text()


def test_every_command_is_explained(page: str) -> None:
    for command in cli.app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert f"preflight-sync {name}" in page, name


def test_every_setting_is_named(page: str, repository: Path) -> None:
    read = set(re.findall(r'"(PREFLIGHT_[A-Z_]+)"', (repository / "sync" / "settings.py").read_text()))
    for name in read - {"PREFLIGHT_STORE", "PREFLIGHT_DATA_DIR", "PREFLIGHT_STATE_DIR", "PREFLIGHT_EMBEDDED_STORE"}:
        assert name in page, name


def test_default_ignores_are_listed(page: str) -> None:
    for pattern in set(DEFAULTS) - {".*.sw[px]", "*.py[co]"}:
        assert f"`{pattern}`" in page, pattern


def test_figures_and_exit_codes(page: str) -> None:
    assert f"{settle.QUIET_CLOSED_S * 1000:.0f} ms" in page
    assert f"{settle.STALE_SMALL_S:.0f} s after it first changed" in page
    for code in re.findall(r"(?:^|· )(\d+) [a-z]", cli.EXIT_CODES.replace("Exit codes: ", "")):
        assert re.search(rf"\b{code} [a-z]", page), code


def test_the_bar_says_what_happens() -> None:
    restoring = Status(state=State.RESTORING, restore=Progress(3, 10, 300, 1000))
    assert line(restoring) == ("restored 3 of 10 files", 300, 1000)
    assert line(Status(state=State.SAVING, pending_files=2, pending_bytes=50, bytes_sent=7)) == (
        "saving 2 files",
        7,
        57,
    )
    assert line(Status(state=State.SAVED)) == ("saved", 0, None)
