"""Trust travels: what the user trusted on one node is trusted on the next, open or not."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from preflight.lab import signatures
from preflight.lab.config import SIGNATURES, startup_script
from preflight.lab.launch import LabSettings, places_of, prepare
from tests.support.jupyter import Password, notebook


def notary(settings: LabSettings) -> NotebookNotary:
    """As JupyterLab on that node has it."""
    return NotebookNotary(data_dir=str(places_of(settings.state_dir).share))


def node(tmp_path: Path, name: str, password: str | None = "x") -> LabSettings:
    """A node that JupyterLab was prepared on; all of them see one folder. Without a password one is made."""
    settings = LabSettings(
        data_dir=tmp_path / "data",
        state_dir=tmp_path / name,
        password=None if password is None else Password(password),
        identity="s3://b/p",
    )
    prepare(settings, {"HOME": str(tmp_path)})
    return settings


def signed(settings: LabSettings, *contents: Any) -> Path:
    """Sign them there; the database."""
    with_keys = notary(settings)
    for content in contents:
        with_keys.sign(content)
    with_keys.store.close()
    return places_of(settings.state_dir).share / SIGNATURES


def trusts(settings: LabSettings, content: Any) -> bool:
    """Whether that node's JupyterLab calls it trusted."""
    with_keys = notary(settings)
    try:
        return bool(with_keys.check_signature(content))
    finally:
        with_keys.store.close()


@pytest.fixture
def trusted() -> Any:
    """A notebook of the user's."""
    return nbformat.from_dict(notebook("display(HTML('<b>mine</b>'))"))


def test_a_notebook_that_nobody_has_open_stays_trusted_on_the_next_node(tmp_path: Path, trusted: Any) -> None:
    first, second = node(tmp_path, "first"), node(tmp_path, "second")
    database = signed(first, trusted)
    assert signatures.carry(database, first.data_dir)
    assert not signatures.carry(database, first.data_dir), "nothing new: no upload"
    assert not trusts(second, trusted)
    exec(startup_script(second, places_of(second.state_dir)), {})
    assert trusts(second, trusted)
    assert not trusts(second, nbformat.from_dict(notebook("by somebody else")))
    assert signatures.bring(second.data_dir, places_of(second.state_dir).share / SIGNATURES) == 0, "once"


def test_signatures_prove_nothing_under_another_password(tmp_path: Path, trusted: Any) -> None:
    first, other = node(tmp_path, "first"), node(tmp_path, "other", "another")
    signatures.carry(signed(first, trusted), first.data_dir)
    signatures.bring(other.data_dir, places_of(other.state_dir).share / SIGNATURES)
    assert not trusts(other, trusted)


def cookie_key(settings: LabSettings) -> str:
    """What signs the login's cookies there."""
    return places_of(settings.state_dir).cookie_secret.read_text()


def test_a_random_password_ends_with_its_node_and_outlives_a_restart_on_it(tmp_path: Path, trusted: Any) -> None:
    """JUPYTERLAB_PW unset: a new node has another one, and neither cookies nor trust of before are worth anything."""
    first = node(tmp_path, "first", None)
    signatures.carry(signed(first, trusted), first.data_dir)
    key = cookie_key(first)
    again = node(tmp_path, "first", None)
    assert cookie_key(again) == key, "JupyterLab alone was started again: still logged in"
    assert trusts(again, trusted)
    second = node(tmp_path, "second", None)
    assert cookie_key(second) != key
    exec(startup_script(second, places_of(second.state_dir)), {})
    assert not trusts(second, trusted), "trusted again when the user says so, or when it was open: see docs/lab.md"
    database = signed(second, trusted)
    assert trusts(second, trusted)
    assert signatures.carry(database, second.data_dir), "and from then on it travels as before"


@pytest.mark.parametrize("text", ["", "x", "sha256 aa'; DROP TABLE nbsignatures\n", "\x00\n \n"])
def test_a_strange_list_harms_nothing(tmp_path: Path, trusted: Any, text: str) -> None:
    first = node(tmp_path, "first")
    database = signed(first, trusted)
    kept = signatures.kept_at(first.data_dir)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(text)
    assert signatures.bring(first.data_dir, database) == 0
    assert trusts(first, trusted)


def test_a_broken_database_is_put_aside(tmp_path: Path) -> None:
    first = node(tmp_path, "first")
    kept = signatures.kept_at(first.data_dir)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("sha256 aa\n")
    database = places_of(first.state_dir).share / SIGNATURES
    database.write_bytes(b"no database" * 100)
    assert signatures.bring(first.data_dir, database) == 1


def test_only_the_newest_travel(tmp_path: Path, trusted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = node(tmp_path, "first")
    database = signed(first, nbformat.from_dict(notebook("old")), trusted)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE nbsignatures SET last_seen = '2001-01-01' WHERE id = 1")
    monkeypatch.setattr(signatures, "MOST", 1)
    assert signatures.carry(database, first.data_dir)
    assert len(signatures.kept_at(first.data_dir).read_text().splitlines()) == 1
