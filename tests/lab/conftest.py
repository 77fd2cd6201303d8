"""What the browser's tests share, one of each a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser
from tests.support.moto import S3Server
from tests.support.seaweed import seaweed

BUCKET = "browser"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with one bucket."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        assert running.creates_bucket(BUCKET)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium."""
    with Browser() as running:
        yield running
