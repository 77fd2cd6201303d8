"""The bucket's checks and the ledger on real servers, through a proxy that misbehaves where it has to."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.bucket_path import identity
from preflight.checks import Broken, Check, Context, Reading, all_checks
from preflight.errors import Unmeasured
from preflight.ledger import Ledger
from preflight.model import Blame
from preflight.policy import Policy
from sync.clock import SystemClock
from sync.stores import Store
from sync.stores.config import StoreConfig
from sync.stores.opening import open_store
from tests.contract.conftest import Backend
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server

CHECKS: dict[str, Check] = {check.name: check for check in all_checks()}


@pytest.fixture
def config(seaweed_server: S3Server) -> StoreConfig:
    return seaweed_server.config("contract", f"user/{uuid.uuid4().hex[:8]}")


@pytest.fixture
def where(config: StoreConfig) -> Iterator[Context]:
    context = Context(stores=(config,), clock=SystemClock(), rng=random.Random(1))
    yield context
    context.shared.close()


def measure(name: str, where: Context) -> Reading:
    reading = CHECKS[name].measure(where)
    assert isinstance(reading, Reading)
    return reading


def keys(config: StoreConfig) -> list[str]:
    store = open_store(config)
    try:
        return [info.key for info in store.list("")]
    finally:
        store.close()


def test_a_good_bucket_is_measured_within_16_mb_and_left_clean(where: Context, config: StoreConfig) -> None:
    access = measure("bucket.access", where)
    assert set(access.detail) >= {"write_s", "read_s", "list_s", "delete_s"}
    assert measure("bucket.scope", where).value == "the whole bucket"
    for name in ("bucket.upload", "bucket.download"):
        reading = measure(name, where)
        assert isinstance(reading.value, float)
        assert reading.value > 1e5
        assert reading.detail["single_stream"]
        assert len(reading.detail["samples"]) >= 1  # type: ignore[arg-type]
    store = where.shared.once(f"store {identity(config)}", lambda: pytest.fail("the store was not shared"))
    assert sum(store.meter.transferred().values()) <= 16e6
    assert keys(config) == []


def test_requests_of_the_access_check(where: Context, config: StoreConfig) -> None:
    measure("bucket.access", where)
    store: Store = where.shared.once(f"store {identity(config)}", lambda: pytest.fail("the store was not shared"))
    assert store.meter.requests() == {"put": 1, "get": 1, "list": 1, "delete": 1}


def test_wrong_keys_are_the_accounts_and_are_told_once(where: Context, config: StoreConfig) -> None:
    from sync.stores.secret import Secret

    wrong = replace(config, credentials={**config.credentials, "secret": Secret("wrong")})
    where = replace(where, stores=(wrong,))
    with pytest.raises(Broken) as broken:
        measure("bucket.access", where)
    assert broken.value.blame is Blame.ACCOUNT
    assert broken.value.advice
    for name in ("bucket.upload", "bucket.download", "bucket.scope"):
        with pytest.raises(Unmeasured, match=r"see bucket\.access"):
            measure(name, where)


def test_the_second_look_pools_samples_and_asks_a_second_store(
    where: Context, config: StoreConfig, seaweed_server: S3Server
) -> None:
    from preflight.model import Limit, Measurement

    limits = {"bucket.download": Limit(at_least=4e6)}
    first = {"bucket.download": Measurement("bucket.download", "B/s", 1e5, detail={"samples": [1e5] * 6})}
    with FaultProxy(seaweed_server.ports[0]) as proxy:
        proxy.faults = Faults(bytes_per_s=60e3, when=b"GET /contract/user")
        slow = replace(config, endpoint=proxy.url)
        again = replace(where, stores=(slow, config), limits=limits, first=first, round_number=1)
        reading = measure("bucket.download", again)
        again.shared.close()
    assert isinstance(reading.value, float)
    assert reading.value < 4e6
    assert isinstance(reading.detail["high"], float)
    assert reading.blame is Blame.ENDPOINT
    assert "fast enough from here" in reading.advice


def test_what_a_killed_check_left_is_removed_a_day_later(where: Context, config: StoreConfig) -> None:
    store = open_store(config)
    store.put(".preflight/checks/access-000000000000", b"left", meta={})
    store.close()
    measure("bucket.access", where)
    assert keys(config) == [".preflight/checks/access-000000000000"], "it is not a day old"


def test_the_ledger_on_every_backend(backend: Backend) -> None:
    store = backend.open()
    policy = Policy()
    try:
        ledgers = [Ledger(store, "group", f"m-{number}") for number in range(5)]
        now = ledgers[0].server_now()
        assert ledgers[0].read(now, policy).tokens_used == 0
        granted = [bool(one.take_token("x.y", "because", policy)) for one in ledgers]
        assert granted == [True, True, True, False, False]
        assert ledgers[0].read(now, policy).tokens_used == 3
        for one in ledgers:
            one.note((), ["x.y"])
        fleet = ledgers[0].read(now, policy)
        assert fleet.machines_failing == {"x.y": 5}
        assert fleet.demoted == {"x.y"}
        ledgers[0].keep_evidence({"version": 1}, "20261121T000000Z-m-0")
        assert list(ledgers[1].evidence()) == [{"version": 1}]
    finally:
        store.close()


def test_names_in_keys_are_safe(tmp_path: Path) -> None:
    from preflight.ledger import safe

    assert safe("../../etc/passwd") == "_.._etc_passwd"
    assert safe("") == "unnamed"
    assert "/" not in safe("a/b\n\0ü")
    assert len(safe("x" * 500)) == 100
