"""S3 under trouble: the right error by type, and the retry layer that overcomes what can be overcome."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from sync.errors import (
    Denied,
    LeaseLost,
    Misconfigured,
    NotFound,
    PreconditionFailed,
    Throttled,
    Transient,
    Unsupported,
)
from sync.stores import ABSENT, ObjectInfo, Precondition, Read, Store, Write
from sync.stores.config import StoreConfig
from sync.stores.network import Timeouts
from sync.stores.retry import Patience, Retrying
from sync.stores.s3 import S3Store
from sync.stores.secret import Secret
from sync.stores.together import get_many, put_many
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server

QUICK = Timeouts(connect_s=1.0, read_s=1.0)  # only where the server hangs: a busy machine is slow


@pytest.fixture
def proxy(moto_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(moto_server.ports[0]) as running:
        yield running


@pytest.fixture
def config(moto_server: S3Server, proxy: FaultProxy, request: pytest.FixtureRequest) -> StoreConfig:
    return moto_server.config("contract", f"trouble/{abs(hash(request.node.name)):x}", endpoint=proxy.url)


@pytest.fixture
def bare(config: StoreConfig) -> Iterator[S3Store]:
    store = S3Store(config)
    yield store
    store.close()


@pytest.fixture
def store(bare: S3Store) -> Store:
    patience = Patience(attempts=4, first_wait_s=0.01, max_wait_s=0.05)
    return Retrying(bare, patience=patience, rng=random.Random(1))


def http(status: str, code: str, *, headers: str = "") -> bytes:
    body = f"<Error><Code>{code}</Code><Message>said the server</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n{headers}"
    return head.encode() + b"Connection: close\r\n\r\n" + body


WHOLE = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: Sun, 22 Nov 2026 11:00:00 GMT\r\n"
    b'x-amz-meta-mtime: 1.5\r\nETag: "5d41402abc4b2a76b9719d911017c592"\r\nServer: one\r\n\r\nhello'
)


@pytest.mark.parametrize("verb", ["put", "get", "head", "copy"])
@pytest.mark.parametrize("key", ["small", "dir/x/", ".preflight/lease.json"])
def test_an_answer_that_is_cut_anywhere_is_no_answer(bare: S3Store, proxy: FaultProxy, verb: str, key: str) -> None:
    """Of a header that ends in the middle the standard library makes a whole one, with half a version in it."""
    ends = len(WHOLE) if verb == "get" else WHOLE.index(b"\r\n\r\n") + 4
    act: Callable[[], object] = {
        "put": lambda: bare.put(key, b"" if key.endswith("/") else b"hello", meta={}),
        "get": lambda: bare.get(key, io.BytesIO()),
        "head": lambda: bare.head(key),
        "copy": lambda: bare.copy("small", key),
    }[verb]
    for size in range(1, ends):
        proxy.faults = Faults(answer=WHOLE[:size])
        with pytest.raises(Transient):
            act()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http("403 Forbidden", "AccessDenied"), Denied),
        (http("403 Forbidden", "SignatureDoesNotMatch"), Denied),
        (http("400 Bad Request", "ExpiredToken"), Denied),
        (http("403 Forbidden", "InvalidObjectState"), Unsupported),
        (http("404 Not Found", "NoSuchBucket"), Misconfigured),
        (http("301 Moved Permanently", "PermanentRedirect"), Misconfigured),
        (http("409 Conflict", "ConditionalRequestConflict"), Transient),
        (http("412 Precondition Failed", "PreconditionFailed"), PreconditionFailed),
        (http("429 Too Many Requests", "TooManyRequests"), Throttled),
        (http("500 Internal Server Error", "InternalError"), Transient),
        (http("501 Not Implemented", "NotImplemented"), Unsupported),
        (http("503 Slow Down", "SlowDown", headers="Retry-After: 7\r\n"), Throttled),
    ],
)
@pytest.mark.parametrize("key", ["small", "dir/"])
def test_answers_become_errors(bare: S3Store, proxy: FaultProxy, answer: bytes, expected: type, key: str) -> None:
    proxy.faults = Faults(answer=answer)
    with pytest.raises(expected) as caught:
        bare.put(key, b"", meta={})
    assert type(caught.value) is expected
    proxy.faults = Faults(answer=answer)
    with pytest.raises(expected):
        bare.get(key, io.BytesIO())


def test_a_bucket_that_does_not_exist(config: StoreConfig) -> None:
    store = S3Store(replace(config, bucket="no-such-bucket-here"))
    for ask in (lambda: list(store.list()), lambda: store.put("a", b"", meta={})):
        with pytest.raises(Misconfigured, match="does not exist"):
            ask()


def test_a_host_that_does_not_exist() -> None:
    keys = {"id": Secret("a"), "secret": Secret("b")}
    store = S3Store(StoreConfig("s3", "b", "p", endpoint="http://no-such-host.invalid", credentials=keys))
    for ask in (lambda: list(store.list()), lambda: store.put("a", b"", meta={})):
        with pytest.raises(Misconfigured, match="host name"):
            ask()


def test_wrong_keys(seaweed_server: S3Server) -> None:
    keys = {"id": Secret("tester"), "secret": Secret("wrong-secret")}
    store = S3Store(replace(seaweed_server.config("contract", "wrong"), credentials=keys))
    for ask in (lambda: list(store.list()), lambda: store.put("a", b"", meta={})):
        with pytest.raises(Denied) as caught:
            ask()
        assert "wrong-secret" not in str(caught.value)


def test_nobody_listens(config: StoreConfig) -> None:
    store = S3Store(replace(config, endpoint="http://127.0.0.1:1"))
    for ask in (
        lambda: list(store.list()),
        lambda: store.put("a", b"", meta={}),
        lambda: store.put("d/", b"", meta={}),
    ):
        with pytest.raises(Transient):
            ask()


def test_a_server_that_hangs(config: StoreConfig, proxy: FaultProxy) -> None:
    bare = S3Store(config, times=QUICK)
    proxy.faults = Faults(hang=True)
    for ask in (
        lambda: list(bare.list()),
        lambda: bare.put("a", b"x", meta={}),
        lambda: bare.get("a", io.BytesIO()),
    ):
        with pytest.raises(Transient):
            ask()
    bare.close()


def test_a_body_that_is_cut_is_never_returned_short(bare: S3Store, proxy: FaultProxy) -> None:
    bare.put("a", b"x" * 200_000, meta={})
    for faults in (Faults(cut_after_bytes=100_000, when=b"GET"), Faults(reset_after_bytes=100_000, when=b"GET")):
        proxy.drop_all()
        proxy.faults = replace(faults, times=1)
        with pytest.raises(Transient):
            bare.get("a", io.BytesIO())


def test_connection_reset_each_16mb(store: Store, proxy: FaultProxy) -> None:
    body = random.Random(2).randbytes(12_000_000)
    store.put("a", body, meta={})
    proxy.drop_all()
    proxy.faults = Faults(reset_after_bytes=5_000_000, when=b"GET")  # scaled down: every connection breaks at 5 MB
    sink = io.BytesIO()
    store.get("a", sink)
    assert sink.getvalue() == body
    assert proxy.hits > 2


def test_503_storm_is_survived_and_slows_us_down(store: Retrying, proxy: FaultProxy) -> None:
    proxy.faults = Faults(answer=http("503 Slow Down", "SlowDown"), times=3)
    store.put("a", b"x", meta={})
    assert proxy.hits == 3
    assert store.pace.window < store.patience.widest / 4


def test_412_from_our_own_retried_put(store: Store, proxy: FaultProxy) -> None:
    proxy.faults = Faults(swallow_answer=True, when=b"PUT", times=1)
    info = store.put("lease", b"mine", meta={}, only_if=ABSENT)
    assert proxy.hits == 1
    assert info.version == store.head("lease").version


def test_412_from_somebody_else_stays_a_conflict(store: Store, bare: S3Store, proxy: FaultProxy) -> None:
    bare.put("lease", b"theirs", meta={})
    proxy.faults = Faults(answer=http("500 Internal Server Error", "InternalError"), when=b"PUT", times=1)
    with pytest.raises(PreconditionFailed):
        store.put("lease", b"mine", meta={}, only_if=ABSENT)


def test_a_lost_answer_to_finish_upload_is_found_out(store: Store, proxy: FaultProxy) -> None:
    upload = store.start_upload("big", meta={})
    part = store.put_part("big", upload, 1, b"x" * 1000)
    proxy.faults = Faults(swallow_answer=True, when=b"POST", times=1)
    info = store.finish_upload("big", upload, [part])
    assert info.size == 1000
    with pytest.raises(NotFound):
        store.list_parts("big", upload)


def test_a_broken_page_breaks_the_whole_listing(bare: S3Store, store: Store, proxy: FaultProxy) -> None:
    for number in range(3):
        bare.put(f"k{number}", b"", meta={})
    proxy.faults = Faults(answer=http("500 Internal Server Error", "InternalError"), when=b"GET", times=1)
    with pytest.raises(Transient):
        list(bare.list())
    proxy.faults = Faults(answer=http("500 Internal Server Error", "InternalError"), when=b"GET", times=2)
    assert [info.key for info in store.list()] == ["k0", "k1", "k2"]


def writes(count: int, *, only_if: Precondition = ABSENT) -> list[Write]:
    return [Write(f"many/{number}", f"body {number}".encode(), {"mode": "644"}, only_if) for number in range(count)]


def test_many_at_once_are_what_each_alone_would_be(store: Store, bare: S3Store) -> None:
    done = dict(put_many(store, writes(8)))
    assert sorted(done) == list(range(8))
    came = dict(get_many(store, [Read(write.key) for write in writes(8)]))
    for number, write in enumerate(writes(8)):
        info, got = done[number], came[number]
        assert isinstance(info, ObjectInfo)
        assert isinstance(got, tuple)
        assert got[1] == write.body
        assert got[0].version == info.version == bare.head(write.key).version
        assert got[0].meta["mode"] == "644"
    assert bare.meter.requests()["put"] == 8
    assert bare.meter.requests()["get"] == 8
    assert bare.meter.transferred()["sent"] == sum(len(write.body) for write in writes(8))


def test_one_obstacle_among_many_is_that_ones(store: Store, bare: S3Store) -> None:
    theirs = bare.put("many/3", b"theirs", meta={})
    done = dict(put_many(store, writes(8)))
    assert isinstance(done.pop(3), PreconditionFailed)
    assert all(isinstance(info, ObjectInfo) for info in done.values())
    assert bare.head("many/3").version == theirs.version
    came = dict(get_many(store, [Read("many/1"), Read("many/none"), Read("many/3", "another")]))
    assert isinstance(came[1], NotFound)
    assert isinstance(came[2], PreconditionFailed)
    assert isinstance(came[0], tuple)
    names = dict(put_many(store, [Write("", b"", {}), Write("many/9", b"", {})]))
    assert isinstance(names[0], Unsupported)
    assert isinstance(names[1], ObjectInfo)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(swallow_answer=True, when=b"PUT", times=3),
        Faults(answer=http("500 Internal Server Error", "InternalError"), when=b"PUT", times=3),
        Faults(answer=http("503 Slow Down", "SlowDown"), when=b"PUT", times=3),
        Faults(refuse=True, times=3),
        Faults(reset_after_bytes=20, when=b"PUT", times=3),
    ],
)
def test_trouble_among_many_is_overcome(store: Store, bare: S3Store, proxy: FaultProxy, faults: Faults) -> None:
    proxy.faults = faults
    done = dict(put_many(store, writes(8)))
    assert all(isinstance(info, ObjectInfo) for info in done.values()), done
    for number, write in enumerate(writes(8)):
        sink = io.BytesIO()
        info = bare.get(write.key, sink)
        known = done[number]
        assert isinstance(known, ObjectInfo)
        assert (sink.getvalue(), info.version) == (write.body, known.version)


def test_who_hangs_among_many_delays_nobody_else(config: StoreConfig, proxy: FaultProxy) -> None:
    with closing(S3Store(config)) as writer:
        assert all(isinstance(info, ObjectInfo) for _, info in put_many(writer, writes(8)))
    proxy.faults = Faults(hang=True, when=b"GET", times=1)
    with closing(S3Store(config, times=QUICK)) as reader:
        came = list(get_many(reader, [Read(write.key) for write in writes(8)]))
    assert isinstance(came[-1][1], Transient)
    assert all(isinstance(result, tuple) for _, result in came[:-1])


def test_many_that_stay_in_trouble_say_so(store: Retrying, proxy: FaultProxy) -> None:
    proxy.faults = Faults(answer=http("503 Slow Down", "SlowDown"))
    done = dict(put_many(store, writes(8)))
    assert all(isinstance(error, Throttled) for error in done.values())
    assert len(done) == 8
    assert store.silence is not None
    assert store.pace.window < store.patience.widest / 4
    proxy.faults = Faults()
    proxy.drop_all()
    assert all(isinstance(info, ObjectInfo) for _, info in put_many(store, writes(8)))


def test_many_ask_the_permit_before_they_are_sent_again(store: Retrying, bare: S3Store, proxy: FaultProxy) -> None:
    sent: set[str] = set()

    def permit(key: str) -> None:
        if key in sent:
            raise LeaseLost("a newer node took over", where=key)
        sent.add(key)

    store.permit = permit
    proxy.faults = Faults(answer=http("500 Internal Server Error", "InternalError"), when=b"PUT", times=2)
    done = dict(put_many(store, writes(8)))
    assert sum(isinstance(error, LeaseLost) for error in done.values()) == 2
    assert bare.meter.requests()["put"] == 8
