"""HTTP as the S3 wire speaks it: what an answer says, however it arrives, and never a whole one made of a part."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.exceptions import HTTPError, ProtocolError

from sync.errors import Misconfigured
from sync.stores.exchange import Origin, Sent
from sync.stores.incoming import Incoming, Source, head_of
from sync.stores.network import Timeouts, of_network

TIMES = Timeouts(connect_s=5.0, read_s=5.0)


@pytest.mark.parametrize(
    ("method", "block", "expected"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5", (200, 5, False, True)),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length:5", (200, 5, False, True)),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 5, 5", (200, 5, False, True)),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", (200, 5, False, True)),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close", (200, 5, False, False)),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5", (200, 5, False, False)),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive", (200, 5, False, True)),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", (200, None, True, True)),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", (200, None, True, True)),
        ("GET", b"HTTP/1.1 200 OK", (200, None, False, False)),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5", (200, 0, False, True)),
        ("PUT", b"HTTP/1.1 100 Continue", (100, 0, False, True)),
        ("PUT", b"HTTP/1.1 204 No Content", (204, 0, False, True)),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", (304, 0, False, True)),
    ],
)
def test_how_an_answer_is_framed(method: str, block: bytes, expected: tuple[int, int | None, bool, bool]) -> None:
    head = head_of(method, block)
    assert (head.status, head.length, head.is_chunked, head.stays_open) == expected


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"<html>the hotel's page",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: no name",
        b"HTTP/1.1 200 OK\r\nname : value",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
    ],
)
def test_what_is_no_answer(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        head_of("GET", block)


def test_headers_that_come_twice_or_in_two_lines() -> None:
    head = head_of("GET", b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nB: x\r\n  y\r\nContent-Length: 0")
    assert head.headers == {"a": "1, 2", "b": "x y", "content-length": "0"}


class Pieces:
    """A socket whose bytes come in these pieces; then it is closed."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def recv(self, most: int) -> bytes:
        if not self._pieces:
            return b""
        piece, self._pieces[0] = self._pieces[0][:most], self._pieces[0][most:]
        if not self._pieces[0]:
            del self._pieces[0]
        return piece

    def recv_into(self, view: memoryview) -> int:
        piece = self.recv(len(view))
        view[: len(piece)] = piece
        return len(piece)


class Keeper:
    """Stands for an origin: remembers whether the connection could be used again."""

    is_usable: bool | None = None

    def give_back(self, connection: object, *, is_usable: bool) -> None:
        del connection
        self.is_usable = is_usable


def answer_in(pieces: list[bytes], read: Callable[[Incoming], bytes] = Incoming.read) -> tuple[bytes, bool | None]:
    """The body of an answer that arrives in `pieces`, and whether its connection can be used again."""
    source, keeper = Source(Pieces(pieces)), Keeper()
    incoming = Incoming(head_of("GET", source.head()), source, keeper, None, is_last=False)
    with incoming:
        body = read(incoming)
    return body, keeper.is_usable


def into(incoming: Incoming) -> bytes:
    view = memoryview(bytearray(100_000))
    return bytes(view[: incoming.read_into(view)])


BODY = bytes(range(256)) * 3
STATED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"100;note=1\r\n"
    + BODY[:256]
    + b"\r\n1fF\r\n"
    + BODY[256:767]
    + b"\r\n1\r\n"
    + BODY[767:]
    + b"\r\n0\r\nA: b\r\n\r\n"
)


@pytest.mark.parametrize("whole", [STATED, CHUNKED])
@settings(max_examples=150, deadline=None)
@given(cuts=st.lists(st.integers(0, len(CHUNKED)), max_size=12))
def test_an_answer_is_the_same_however_it_arrives(whole: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert answer_in(list(pieces)) == (BODY, True)
    if whole is STATED:
        assert answer_in(list(pieces), into) == (BODY, True)


@pytest.mark.parametrize("whole", [STATED, CHUNKED])
def test_an_answer_that_is_cut_is_never_whole(whole: bytes) -> None:
    for size in range(len(whole)):
        with pytest.raises(ProtocolError):
            answer_in([whole[:size]])


def test_a_body_that_is_not_read_ends_the_connection() -> None:
    assert answer_in([STATED], lambda incoming: b"") == (b"", False)


Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def served(*handlers: Handler, wrap: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server whose n-th connection is handled by the n-th handler; its host and port."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def handle(client: socket.socket, handler: Handler) -> None:
            with contextlib.suppress(OSError), client:
                if wrap is None:
                    handler(client)
                else:
                    with wrap.wrap_socket(client, server_side=True) as link:
                        handler(link)

        def accept() -> None:
            for handler in handlers:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(client, handler), daemon=True).start()
            ended.wait(30.0)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5.0)


def request_on(client: socket.socket) -> bytes:
    """The header of the next request."""
    said = b""
    while b"\r\n\r\n" not in said:
        more = client.recv(65536)
        if not more:
            raise ConnectionResetError
        said += more
    return said


def answers(count: int, told: list[bytes], *, then: Callable[[socket.socket], None] = lambda client: None) -> Handler:
    """A handler that answers `count` requests and remembers them."""

    def handle(client: socket.socket) -> None:
        for _ in range(count):
            told.append(request_on(client))
            client.sendall(STATED)
        then(client)

    return handle


def body_of(origin: Origin, target: str = "/a") -> bytes:
    with origin.exchange("GET", target, {"host": "h"}) as answer:
        return answer.read()


def hang(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while client.recv(65536):
            pass


def test_a_connection_carries_one_request_after_the_other() -> None:
    told: list[bytes] = []
    with served(answers(3, told)) as host, contextlib.closing(Origin("http", host, TIMES)) as origin:
        assert [body_of(origin, f"/{number}") for number in range(3)] == [BODY] * 3
    assert [line.split(b" ")[1] for line in told] == [b"/0", b"/1", b"/2"]


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    told: list[bytes] = []
    closed = threading.Event()

    def end(client: socket.socket) -> None:
        client.close()
        closed.set()

    with (
        served(answers(1, told, then=end), answers(1, told)) as host,
        contextlib.closing(Origin("http", host, TIMES)) as origin,
    ):
        assert body_of(origin) == BODY
        assert closed.wait(5.0)
        assert body_of(origin) == BODY


def test_an_interim_answer_is_not_the_answer() -> None:
    def handle(client: socket.socket) -> None:
        request_on(client)
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + STATED)

    with served(handle) as host, contextlib.closing(Origin("http", host, TIMES)) as origin:
        assert body_of(origin) == BODY


def test_interim_answers_without_end_are_no_answer() -> None:
    def handle(client: socket.socket) -> None:
        request_on(client)
        with contextlib.suppress(OSError):
            while True:
                client.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")

    with (
        served(handle) as host,
        contextlib.closing(Origin("http", host, TIMES)) as origin,
        pytest.raises(ProtocolError, match="without end"),
    ):
        body_of(origin)


def test_who_refuses_in_the_middle_of_a_body_is_heard() -> None:
    def handle(client: socket.socket) -> None:
        request_on(client)
        client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):  # as servers do: what still comes is thrown away, lest a reset swallow the answer
            pass

    with served(handle) as host, contextlib.closing(Origin("http", host, TIMES)) as origin:
        body = [b"x" * 131072] * 40
        headers = {"host": "h", "content-length": str(40 * 131072)}
        with origin.exchange("PUT", "/a", headers, body) as answer:
            assert (answer.status, answer.read()) == (403, b"no")


def test_who_says_nothing_holds_nobody_up() -> None:
    told: list[bytes] = []
    with (
        served(hang, answers(1, told), answers(1, told)) as host,
        contextlib.closing(Origin("http", host, Timeouts(connect_s=5.0, read_s=1.0))) as origin,
    ):
        sent = [origin.send("GET", f"/{number}", {"host": "h"}) for number in range(3)]
        ended: list[int] = []
        for request in Sent.as_they_come(sent):
            ended.append(sent.index(request))
            if ended[-1] == 0:
                with pytest.raises(TimeoutError):
                    request.answer()
            else:
                with request.answer() as answer:
                    assert answer.read() == BODY
        assert sorted(ended[:2]) == [1, 2]
        assert ended[2] == 0


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signed itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "store.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def secure(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_tls_with_a_certificate_that_this_machine_trusts(
    pem: Path, secure: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    told: list[bytes] = []
    with (
        served(answers(2, told), wrap=secure) as host,
        contextlib.closing(Origin("https", host, TIMES)) as origin,
    ):
        assert [body_of(origin), body_of(origin)] == [BODY, BODY]


def test_tls_with_a_certificate_that_nobody_signed(secure: ssl.SSLContext) -> None:
    with served(hang, wrap=secure) as host, contextlib.closing(Origin("https", host, TIMES)) as origin:
        with pytest.raises((HTTPError, OSError)) as caught:
            body_of(origin)
        assert isinstance(of_network(caught.value, "a", "s3://b", answered=False), Misconfigured)


def test_tls_through_a_tunnel(pem: Path, secure: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    told: list[bytes] = []
    asked: list[bytes] = []

    with served(answers(1, told), wrap=secure) as host:

        def tunnel(client: socket.socket) -> None:
            asked.append(request_on(client))
            with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join(5.0)

        with served(tunnel) as proxy:
            monkeypatch.setenv("https_proxy", f"http://me:secret@{proxy}")
            monkeypatch.setenv("no_proxy", "")
            with contextlib.closing(Origin("https", host, TIMES)) as origin:
                assert body_of(origin) == BODY
    assert asked[0].startswith(f"CONNECT {host} ".encode())
    assert b"authorization: basic bwu6c2vjcmv0" in asked[0].lower()
    assert told[0].startswith(b"GET /a HTTP/1.1\r\nhost: h\r\n")
    assert b"secret" not in told[0]


def test_a_proxy_is_asked_for_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bytes] = []
    with served(answers(1, told)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        monkeypatch.setenv("no_proxy", "")
        with contextlib.closing(Origin("http", "store.invalid:81", TIMES)) as origin:
            assert body_of(origin) == BODY
    assert told[0].startswith(b"GET http://store.invalid:81/a HTTP/1.1\r\n")


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def test_connections_are_opened_side_by_side() -> None:
    """In turn, eight of them over an ocean would take eight times three round trips."""
    together = threading.Barrier(8)

    class Distant(Origin):
        def _connected(self) -> Any:
            together.wait(10.0)
            return super()._connected()

    told: list[bytes] = []
    with served(*[answers(1, told)] * 8) as host, contextlib.closing(Distant("http", host, TIMES)) as origin:
        origin.warm(8)
        sent = [origin.send("GET", "/a", {"host": "h"}) for _ in range(8)]
        for request in Sent.as_they_come(sent):
            with request.answer() as answer:
                assert answer.read() == BODY


def test_connections_that_could_be_opened_are_used() -> None:
    tickets = iter(range(8))

    class Crowded(Origin):
        def _connected(self) -> Any:
            if next(tickets) >= 3:
                raise ConnectionRefusedError("enough")
            return super()._connected()

    told: list[bytes] = []
    with served(*[answers(1, told)] * 3) as host, contextlib.closing(Crowded("http", host, TIMES)) as origin:
        with pytest.raises(ConnectionRefusedError):
            origin.warm(8)
        for _ in range(3):
            assert origin.has_idle
            origin.send("GET", "/a", {"host": "h"}).drop()
        assert not origin.has_idle
