"""The simulation's store keeps the contract that every real store keeps, in each class of conditional writes."""

from __future__ import annotations

import random

import pytest

from sync.stores import Store, Writes
from tests.contract.test_store import *  # noqa: F403 - the whole suite, on another store
from tests.model.simulation.bucket import Bucket
from tests.model.simulation.faults import Network
from tests.model.simulation.memory_store import Bystander, MemoryStore


@pytest.fixture(params=[(writes, tags) for writes in Writes for tags in (False, True)], ids=str)
def store(request: pytest.FixtureRequest) -> Store:
    writes, md5_tags = request.param
    return MemoryStore(Bucket(writes, md5_tags=md5_tags), Bystander("test"), Network(random.Random(0)))
