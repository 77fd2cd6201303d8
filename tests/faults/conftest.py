"""Machines around real buckets: a folder and a real SeaweedFS."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.moto import S3Server
from tests.support.seaweed import seaweed
from tests.support.synced import Machine

_numbers = itertools.count()


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One SeaweedFS for all tests of this folder."""
    with contextlib.ExitStack() as stack:
        server = _started(stack, tmp_path_factory)
        server.creates_bucket("lives")
        yield server


def _started(stack: contextlib.ExitStack, tmp_path_factory: pytest.TempPathFactory) -> S3Server:
    """A server; a second and a third try where another test took one of its eight ports meanwhile."""
    for _ in range(2):
        try:
            return stack.enter_context(seaweed(tmp_path_factory.mktemp("weed") / "server"))
        except AssertionError:
            continue
    return stack.enter_context(seaweed(tmp_path_factory.mktemp("weed") / "server"))


@pytest.fixture(params=["file", "seaweed"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """The variables that name an empty bucket folder, on each kind of store."""
    if request.param == "file":
        (tmp_path / "bucket").mkdir()
        return {"PREFLIGHT_STORE": f"file://{tmp_path / 'bucket'}"}
    server: S3Server = request.getfixturevalue("weed")
    return server.environ(f"lives/{tmp_path.name}-{next(_numbers)}")


@pytest.fixture
def file_bucket(tmp_path: Path) -> Mapping[str, str]:
    """An empty bucket in a folder."""
    (tmp_path / "bucket").mkdir()
    return {"PREFLIGHT_STORE": f"file://{tmp_path / 'bucket'}"}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Make machines; all end with the test."""
    made: list[Machine] = []

    def make(store: Mapping[str, str], name: str = "node-a", **extra: str) -> Machine:
        machine = Machine(tmp_path / name, store, name, **extra)
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.clean()
