"""Settings: every fault at once, every fault with its variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from preflight.errors import BadSettings
from preflight.settings import MonitorAction, OnReject, load, read, variables


def at(tmp_path: Path, **environ: str) -> dict[str, str]:
    """An environment whose folders are temporary."""
    folders = {"PREFLIGHT_DATA_DIR": str(tmp_path / "data"), "PREFLIGHT_STATE_DIR": str(tmp_path / "state")}
    return {**folders, "PREFLIGHT_STORE": f"file://{tmp_path}/bucket", **environ}


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load(at(tmp_path))
    assert (settings.port, settings.probe_port) == (8000, 8001)
    assert settings.on_reject is OnReject.AUTO
    assert settings.monitor_action is MonitorAction.REPORT
    assert settings.password is None


def test_empty_means_unset(tmp_path: Path) -> None:
    assert load(at(tmp_path, PREFLIGHT_PORT="", PREFLIGHT_ON_REJECT="  ")).port == 8000


def test_words_ignore_case_and_blanks(tmp_path: Path) -> None:
    assert load(at(tmp_path, PREFLIGHT_ON_REJECT=" Report ")).on_reject is OnReject.REPORT


def test_all_faults_of_all_parts_at_once(tmp_path: Path) -> None:
    environ = at(
        tmp_path,
        PREFLIGHT_PORT="eighty",
        PREFLIGHT_READY_URL="localhost:9",
        PREFLIGHT_MONITOR_ACTION="panic",
        PREFLIGHT_FLUSH_TIMEOUT_S="soon",
        PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST="lots",
        PREFLIGHT_STORE="gopher://x/y",
    )
    with pytest.raises(BadSettings) as raised:
        load(environ)
    named = {re.split(r"[: ]", problem)[0] for problem in raised.value.problems}
    assert named == set(environ) - {"PREFLIGHT_DATA_DIR", "PREFLIGHT_STATE_DIR"}
    assert len(raised.value.problems) == 6


def test_a_fault_leaves_its_default_in_place(tmp_path: Path) -> None:
    settings, problems = read(at(tmp_path, PREFLIGHT_PORT="0", PREFLIGHT_PROBE_PORT="9001"))
    assert (settings.port, settings.probe_port) == (8000, 9001)
    assert len(problems) == 1


def test_equal_ports_are_a_fault(tmp_path: Path) -> None:
    _, problems = read(at(tmp_path, PREFLIGHT_PORT="8001"))
    assert problems == ["PREFLIGHT_PORT, PREFLIGHT_PROBE_PORT: both are 8001; they must differ"]


def test_the_state_may_not_lie_in_the_synced_folder(tmp_path: Path) -> None:
    environ = at(tmp_path) | {"PREFLIGHT_STATE_DIR": str(tmp_path / "data" / "state")}
    assert [problem for problem in read(environ)[1] if problem.startswith("PREFLIGHT_STATE_DIR")]


def test_the_password_is_never_shown(tmp_path: Path) -> None:
    settings = load(at(tmp_path, JUPYTERLAB_PW="hunter two"))
    assert "hunter" not in repr(settings)
    assert settings.password is not None
    assert settings.password.reveal() == "hunter two"


def test_every_field_is_described() -> None:
    from preflight.settings import Settings

    assert all(info.description for info in Settings.model_fields.values())
    assert len(set(variables())) == len(Settings.model_fields)
