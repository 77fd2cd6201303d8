"""Shipped notebooks never overwrite, never come back from the dead, and updates arrive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflight.lab.shipping import FOLDER, plan_shipping, ship, source_folder

OURS = {"a.ipynb": "new"}


@pytest.mark.parametrize(
    ("there", "record", "writes"),
    [
        ({}, {}, {"a.ipynb": "a.ipynb"}),  # first start
        ({"a.ipynb": "new"}, {}, {}),  # restored, but without its record
        ({"a.ipynb": "mine"}, {}, {}),  # a file of the user's own
        ({}, {"a.ipynb": "new"}, {}),  # deleted by the user
        ({}, {"a.ipynb": "old"}, {}),  # deleted by the user, then updated
        ({"a.ipynb": "old"}, {"a.ipynb": "old"}, {"a.ipynb": "a.ipynb"}),  # never touched
        ({"a.ipynb": "edited"}, {"a.ipynb": "old"}, {"a (updated).ipynb": "a.ipynb"}),
        ({"a.ipynb": "edited"}, {"a.ipynb": "new"}, {}),  # edited, nothing new
        ({"a.ipynb": "edited", "a (updated).ipynb": "new"}, {"a.ipynb": "old"}, {}),
    ],
)
def test_what_is_written(there: dict[str, str], record: dict[str, str], writes: dict[str, str]) -> None:
    planned = plan_shipping(OURS, there, record)
    assert planned.writes == writes
    assert planned.record["a.ipynb"] == "new"


def test_ships_everything_once(tmp_path: Path) -> None:
    source = source_folder()
    assert source is not None
    assert ship(tmp_path) == 8
    assert ship(tmp_path) == 0
    first = tmp_path / FOLDER / "00_start_here.ipynb"
    assert first.read_bytes() == (source / first.name).read_bytes()
    first.write_text("{}")
    (tmp_path / FOLDER / "cuda_hello.cu").unlink()
    assert ship(tmp_path) == 0
    assert first.read_text() == "{}"
    assert json.loads((tmp_path / FOLDER / ".shipped.json").read_text()).keys() >= {first.name}


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    assert ship(tmp_path) == 0
