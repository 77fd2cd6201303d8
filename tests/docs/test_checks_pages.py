"""`docs/checks.md` and the runbook say what the code does: they are written from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from preflight.checks import all_checks
from preflight.documentation import checks_page, codes, notes_from, runbook_pages
from preflight.limits import VARIABLES

HOW = "run .venv/bin/python docs/write-checks"


def notes(repository: Path) -> dict[str, str]:
    return notes_from((repository / "docs" / "runbook-notes.md").read_text())


def test_the_checks_page_is_up_to_date(repository: Path) -> None:
    assert (repository / "docs" / "checks.md").read_text() == checks_page(), HOW


def test_every_finding_has_a_runbook_page_that_is_up_to_date(repository: Path) -> None:
    folder = repository / "docs" / "runbook"
    assert {path.name: path.read_text() for path in folder.glob("*.md")} == runbook_pages(notes(repository)), HOW


def test_notes_are_about_findings_that_exist(repository: Path) -> None:
    known = {check.code for check in all_checks()} | {code for check in all_checks() for code in codes(check)}
    assert set(notes(repository)) - known == set()


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.name)
def test_every_check_explains_itself(check: object) -> None:
    assert check.title  # type: ignore[attr-defined]
    assert check.why, "what it proves"  # type: ignore[attr-defined]
    assert check.limit.advice or check.limit.severity == "note", "what to do"  # type: ignore[attr-defined]
    assert check.limit.why, "why this default"  # type: ignore[attr-defined]
    assert check.measure.__doc__ or check.lane == "gpu", "what the number is"  # type: ignore[attr-defined]


def test_every_variable_that_the_code_reads_is_documented(repository: Path) -> None:
    mine = ("limits", "assessment", "cgroup", "bucket_path", "examine", "checks/warmup", "checks/reference")
    sources = [(repository / "preflight" / f"{name}.py").read_text() for name in mine]
    read = {name for text in sources for name in re.findall(r'"(PREFLIGHT_[A-Z_]+)"', text)}
    documented = {name for name, _, _ in VARIABLES}
    known_elsewhere = {"PREFLIGHT_ON_REJECT", "PREFLIGHT_STORE", "PREFLIGHT_STATE_DIR", "PREFLIGHT_LIMIT_"}
    assert read - documented - known_elsewhere == set()
