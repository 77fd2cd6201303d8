"""Azure and Google under trouble: the right error by type, and what the retry layer overcomes."""

from __future__ import annotations

import io
import random
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from sync.errors import Denied, Misconfigured, NotFound, PreconditionFailed, Throttled, Transient, Unsupported
from sync.stores import ABSENT, Store
from sync.stores.azure import AzureStore
from sync.stores.config import StoreConfig
from sync.stores.gcs import GcsStore
from sync.stores.network import Timeouts
from sync.stores.retry import Patience, Retrying
from tests.support.azurite import AzureServer
from tests.support.fakegcs import GcsServer
from tests.support.faultproxy import FaultProxy, Faults

QUICK = Timeouts(connect_s=1.0, read_s=1.0)


@dataclass
class Cloud:
    name: str
    config: StoreConfig
    proxy: FaultProxy

    def open(self, times: Timeouts | None = None, **changes: object) -> Store:
        config = replace(self.config, **changes)  # type: ignore[arg-type]
        return AzureStore(config, times=times) if self.name == "azurite" else GcsStore(config, times=times)


@pytest.fixture(params=["azurite", "fakegcs"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    server: AzureServer | GcsServer = request.getfixturevalue(f"{request.param}_server")
    config = server.config("contract", f"trouble/{uuid.uuid4().hex[:8]}")
    with FaultProxy(server.port) as proxy:
        endpoint = (config.endpoint or "").replace(str(server.port), str(proxy.port))
        yield Cloud(request.param, replace(config, endpoint=endpoint), proxy)


@pytest.fixture
def bare(cloud: Cloud) -> Iterator[Store]:
    with closing(cloud.open()) as store:
        yield store


@pytest.fixture
def store(bare: Store) -> Store:
    return Retrying(bare, patience=Patience(attempts=4, first_wait_s=0.01, max_wait_s=0.05), rng=random.Random(1))


def http(status: str, code: str, *, headers: str = "") -> bytes:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>said</Message></Error>'.encode()
    if not code[0].isupper():
        body = f'{{"error": {{"message": "{code}"}}}}'.encode()
    kind = "application/xml" if code[0].isupper() else "application/json"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nx-ms-error-code: {code}\r\n"
    return head.encode() + headers.encode() + b"Connection: close\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http("403 Forbidden", "AuthorizationPermissionMismatch"), Denied),
        (http("401 Unauthorized", "unauthorized"), Denied),
        (http("429 Too Many Requests", "rateLimitExceeded", headers="Retry-After: 3\r\n"), Throttled),
        (http("500 Internal Server Error", "InternalError"), Transient),
        (http("503 Service Unavailable", "ServerBusy", headers="Retry-After: 3\r\n"), Throttled),
        (http("412 Precondition Failed", "ConditionNotMet"), PreconditionFailed),
        (http("501 Not Implemented", "NotImplemented"), Unsupported),
    ],
)
def test_answers_become_errors(bare: Store, cloud: Cloud, answer: bytes, expected: type) -> None:
    cloud.proxy.faults = Faults(answer=answer)
    for ask in (
        lambda: bare.put("a", b"x", meta={}),
        lambda: bare.get("a", io.BytesIO()),
        lambda: list(bare.list()),
        lambda: bare.get_range("a", 0, 1),
    ):
        with pytest.raises(expected) as caught:
            ask()
        assert type(caught.value) is expected


def test_a_bucket_that_does_not_exist(cloud: Cloud) -> None:
    with closing(cloud.open(bucket="no-such-bucket-here")) as store:
        # A container SAS is for one container: Azure cannot tell a missing one from a forbidden one.
        expected = Denied if cloud.name == "azurite" else Misconfigured
        with pytest.raises(expected):
            store.put("a", b"", meta={})
        with pytest.raises(expected):
            list(store.list())


def test_a_host_that_does_not_exist(cloud: Cloud) -> None:
    with (
        closing(cloud.open(endpoint="http://no-such-host.invalid/account")) as store,
        pytest.raises(Misconfigured, match="host name"),
    ):
        list(store.list())


def test_a_server_that_hangs_or_refuses(cloud: Cloud) -> None:
    bare = cloud.open(QUICK)  # only here: a busy machine is slow
    for faults in (Faults(hang=True), Faults(refuse=True)):
        cloud.proxy.faults = faults
        for ask in (
            lambda: list(bare.list()),
            lambda: bare.put("a", b"x", meta={}),
            lambda: bare.get("a", io.BytesIO()),
            lambda: bare.delete("a"),
        ):
            with pytest.raises(Transient):
                ask()
    bare.close()


def test_a_body_that_is_cut_is_never_returned_short(bare: Store, cloud: Cloud) -> None:
    bare.put("a", b"x" * 200_000, meta={})
    for faults in (Faults(cut_after_bytes=100_000, when=b"GET"), Faults(reset_after_bytes=100_000, when=b"GET")):
        cloud.proxy.drop_all()
        cloud.proxy.faults = replace(faults, times=1)
        with pytest.raises(Transient):
            bare.get("a", io.BytesIO())


def test_broken_connections_are_resumed(store: Store, cloud: Cloud) -> None:
    body = random.Random(2).randbytes(9_000_000)
    store.put("a", body, meta={})
    cloud.proxy.drop_all()
    cloud.proxy.faults = Faults(reset_after_bytes=5_000_000, when=b"GET")
    sink = io.BytesIO()
    store.get("a", sink)
    assert sink.getvalue() == body


def test_a_lost_answer_is_not_a_conflict(store: Store, cloud: Cloud) -> None:
    verb = b"PUT" if cloud.name == "azurite" else b"POST"
    cloud.proxy.faults = Faults(swallow_answer=True, when=verb, times=1)
    info = store.put("lease", b"mine", meta={}, only_if=ABSENT)
    assert cloud.proxy.hits == 1
    assert info.version == store.head("lease").version


def test_a_lost_answer_to_finish_upload_is_found_out(store: Store, cloud: Cloud) -> None:
    upload = store.start_upload("big", meta={"mtime": "1"})
    part = store.put_part("big", upload, 1, b"x" * 1000)
    verb = b"PUT" if cloud.name == "azurite" else b"POST"
    cloud.proxy.faults = Faults(swallow_answer=True, when=verb, times=1)
    info = store.finish_upload("big", upload, [part], only_if=ABSENT)
    assert info.size == 1000
    assert store.head("big").meta["mtime"] == "1"


def test_a_broken_page_breaks_the_whole_listing(bare: Store, cloud: Cloud) -> None:
    bare.put("a", b"", meta={})
    cloud.proxy.faults = Faults(answer=http("500 Internal Server Error", "InternalError"), when=b"GET", times=1)
    with pytest.raises(Transient):
        list(bare.list())
    assert [info.key for info in bare.list()] == ["a"]


def test_many_parts_become_one_object(cloud: Cloud, bare: Store) -> None:
    """More than Google composes in one request."""
    upload = bare.start_upload("many", meta={"mtime": "1"})
    parts = [bare.put_part("many", upload, number, bytes([number]) * 100) for number in range(1, 71)]
    info = bare.finish_upload("many", upload, parts)
    sink = io.BytesIO()
    bare.get("many", sink, if_version=info.version)
    assert sink.getvalue() == b"".join(bytes([number]) * 100 for number in range(1, 71))
    assert [one.key for one in bare.list()] == ["many"]
    assert list(bare.list(".preflight/uploads/")) == []
    with pytest.raises(NotFound):
        bare.list_parts("many", upload)
