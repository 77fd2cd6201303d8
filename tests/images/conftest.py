"""A moto server for the tests that ask a bucket where it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.moto import moto


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server.endpoint
