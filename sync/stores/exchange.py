"""HTTP/1.1 requests to one origin: connections by urllib3 (names, TLS, proxies), what goes over them by ourselves.

General clients take 0.25 to 0.6 ms of CPU a request and four thread switches: more than everything else that a save
of a small file costs, the disk included (docs/decisions/0206). What is needed of HTTP here is small: one request with
a body of known length, one answer, both whole or an error. Source: RFC 9112.
"""

from __future__ import annotations

import re
import select
import ssl
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.exceptions import ProtocolError
from urllib3.util.wait import wait_for_read

from sync.stores.network import Timeouts

IDLE = 96  # connections that wait for the next request
PIECE_BYTES = 128 * 1024  # of a body
PIECE_S = 30.0  # for each of them: an upload is bounded by its progress and not by its size
HEAD_BYTES = 64 * 1024
READ_BYTES = 64 * 1024  # a header and a small body arrive in one read
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?", re.ASCII)
_LINE = re.compile(r"([^\s:]+):(.*)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_NO_BODY = (204, 304)
_END = b"\r\n\r\n"


class Head(NamedTuple):
    """What an answer says before its body. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    length: int | None  # bytes of the body; None: it ends by itself
    is_chunked: bool
    stays_open: bool  # another request may follow on the same connection


def head_of(method: str, block: bytes) -> Head:
    """The header of an answer to `method`: its lines without the empty one. Raises ProtocolError for what is none."""
    first, *lines = block.decode("latin-1").split("\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise ProtocolError("the answer is no HTTP")
    if any(line[:1] in (" ", "\t") for line in lines):  # an old way to go on with the line above
        lines = re.sub(r"\r\n[ \t]+", " ", "\r\n".join(lines)).split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        said = _LINE.fullmatch(line)
        if said is None:
            raise ProtocolError("the header of the answer is no HTTP")
        name, value = said[1].lower(), said[2].strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return _framed(method, found[1] == "1", int(found[2]), headers)


def _framed(method: str, is_new: bool, status: int, headers: dict[str, str]) -> Head:
    """How the body is delimited (RFC 9112, 6.3) and whether the connection outlives it (9.3)."""
    said = headers.get("connection", "").lower()
    stays_open = "close" not in said and (is_new or "keep-alive" in said)
    if method == "HEAD" or status < 200 or status in _NO_BODY:
        return Head(status, headers, 0, False, stays_open)
    if coding := headers.get("transfer-encoding", ""):
        if coding.strip().lower() != "chunked":
            raise ProtocolError(f"the answer is coded in an unknown way: {coding[:40]}")
        return Head(status, headers, None, True, stays_open)
    if "content-length" not in headers:
        return Head(status, headers, None, False, False)
    length, *others = headers["content-length"].split(", ")
    if any(other != length for other in others) or not (length.isascii() and length.isdigit()):
        raise ProtocolError("the answer does not say how long it is")
    return Head(status, headers, int(length), False, stays_open)


class _Source:
    """What arrives on a connection, in the portions that are asked for."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._held = b""

    def head(self) -> bytes:
        """Everything up to the next empty line."""
        held = self._held
        while (end := held.find(_END)) < 0:
            if len(held) > HEAD_BYTES:
                raise ProtocolError("the header of the answer has no end")
            more = self._sock.recv(READ_BYTES)
            if not more:
                raise ProtocolError("the header ended in the middle" if held else "the connection ended unanswered")
            held = held + more if held else more
        self._held = held[end + len(_END) :]
        return held[:end]

    def line(self) -> bytes:
        """Everything up to the next end of a line."""
        while (end := self._held.find(b"\r\n")) < 0:
            more = self._sock.recv(READ_BYTES)
            if not more or len(self._held) > HEAD_BYTES:
                raise ProtocolError("the body ended in the middle")
            self._held += more
        line, self._held = self._held[:end], self._held[end + 2 :]
        return line

    def some(self, most: int) -> bytes:
        """At least one byte and at most `most`; none at the end."""
        if not self._held:
            return bytes(self._sock.recv(min(most, READ_BYTES)))
        piece, self._held = self._held[:most], self._held[most:]
        return piece

    def into(self, view: memoryview) -> int:
        """The same, into `view`."""
        if not self._held:
            return int(self._sock.recv_into(view))
        piece = self.some(len(view))
        view[: len(piece)] = piece
        return len(piece)


class Incoming:
    """An answer whose header is known and whose body is to be read, once. Raises ProtocolError where it is cut.

    It is to be entered with `with`: on the way out its connection is kept for the next request, or closed.
    """

    def __init__(self, head: Head, source: _Source, origin: Origin, connection: Any, *, is_last: bool) -> None:
        self.status, self.headers = head.status, head.headers
        self._head, self._source, self._origin, self._connection = head, source, origin, connection
        self._left = head.length
        self._is_over = head.length == 0
        self._is_last = is_last or not head.stays_open

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # What is left of a body would be taken for the next answer.
        self._origin.give_back(self._connection, is_usable=kind is None and self._is_over and not self._is_last)

    def read(self) -> bytes:
        """All that is left of the body."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives."""
        if self._head.is_chunked:
            yield from self._chunks()
        while self._left is None and not self._is_over:
            piece = self._source.some(READ_BYTES)
            self._is_over = not piece
            yield piece
        while self._left:
            piece = self._source.some(self._left)
            self._took(len(piece))
            yield piece

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with what is left of a body of known length; how many bytes those were."""
        at = 0
        while self._left and at < len(view):
            got = self._source.into(view[at : at + self._left])
            self._took(got)
            at += got
        return at

    def _took(self, size: int) -> None:
        assert self._left is not None
        if not size:
            raise ProtocolError(f"the body ended {self._left} bytes early")
        self._left -= size
        self._is_over = self._left == 0

    def _chunks(self) -> Iterator[bytes]:
        while not self._is_over:
            found = _SIZE.fullmatch(self._source.line())
            if found is None:
                raise ProtocolError("the body is no HTTP")
            left = int(found[1], 16)
            if left == 0:
                while self._source.line():
                    pass  # more headers, which nobody needs
                self._is_over = True
                return
            while left:
                piece = self._source.some(left)
                if not piece:
                    raise ProtocolError("the body ended in the middle")
                left -= len(piece)
                yield piece
            if self._source.line():
                raise ProtocolError("the body is no HTTP")


class Sent:
    """A request that waits for its answer, on a connection of its own."""

    def __init__(self, origin: Origin, connection: Any, method: str, refused: OSError | None) -> None:
        self._origin, self._connection, self._method, self._refused = origin, connection, method, refused
        self._is_late = False

    def answer(self) -> Incoming:
        """The answer as far as the end of its header. Raises HTTPError or OSError where there is no whole one."""
        try:
            if self._is_late:
                raise TimeoutError("timed out")
            sock = self._connection.sock
            _limit(sock, self._origin.read_s)
            source = _Source(sock)
            try:
                head = head_of(self._method, source.head())
                while head.status < 200:
                    head = head_of(self._method, source.head())
            except (ProtocolError, OSError) as error:
                if self._refused is not None:
                    raise self._refused from error
                raise
            return Incoming(head, source, self._origin, self._connection, is_last=self._refused is not None)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Nobody waits for the answer any more."""
        self._connection.close()

    @staticmethod
    def as_they_come(waiting: Iterable[Sent]) -> Iterator[Sent]:
        """Each of `waiting` when its answer begins: who hangs holds nobody up. `answer` of what is late raises."""
        by_number = {sent._connection.sock.fileno(): sent for sent in waiting}
        poller = select.poll()
        for number in by_number:
            poller.register(number, select.POLLIN)
        while by_number:
            limit_s = next(iter(by_number.values()))._origin.read_s
            ready = poller.poll(limit_s * 1000) or [(number, 0) for number in by_number]
            for number, event in ready:
                poller.unregister(number)
                sent = by_number.pop(number)
                sent._is_late = event == 0
                yield sent


class Origin:
    """The connections to one server. Thread-safe; each carries one request at a time."""

    def __init__(self, scheme: str, host: str, times: Timeouts) -> None:
        self.read_s = times.read_s
        self._pools, proxy = _pools(scheme, host, urllib3.Timeout(connect=times.connect_s, read=times.read_s))
        self._pool = self._pools.connection_from_url(f"{scheme}://{host}")
        # A proxy is asked for whole URLs, except through a tunnel.
        is_asked = proxy is not None and scheme == "http"
        self._before = f"{scheme}://{host}" if is_asked else ""
        self._own = tuple(self._pool.proxy_headers.items()) if is_asked else ()
        self._is_tunnelled = proxy is not None and not is_asked
        self._idle: list[Any] = []
        weakref.finalize(self, _close_all, self._idle)  # whoever forgets `close`

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: Iterable[bytes | memoryview] = ()
    ) -> Sent:
        """Send one request. `headers` say how long `body` is.

        Raises urllib3's HTTPError or OSError where it cannot be sent.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in (*headers.items(), *self._own)])
        head = f"{method} {self._before}{target} HTTP/1.1\r\n{lines}accept-encoding: identity\r\n\r\n".encode("latin-1")
        connection = self._connection()
        try:
            return Sent(self, connection, method, _send(connection.sock, head, body))
        except BaseException:
            connection.close()
            raise

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Iterable[bytes | memoryview] = ()
    ) -> Incoming:
        """One request, and its answer as far as the end of its header. Raises as `send` and `Sent.answer` do."""
        return self.send(method, target, headers, body).answer()

    def give_back(self, connection: Any, *, is_usable: bool) -> None:
        """It carries the next request, or nothing any more."""
        if is_usable and len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _connection(self) -> Any:
        """One that is open and silent, or a new one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if not wait_for_read(connection.sock, timeout=0.0):
                return connection
            connection.close()  # the server closed it meanwhile
        return self._connected()

    def warm(self, count: int) -> None:
        """Open what is missing of `count` connections side by side: in turn, each would cost its round trips.

        Raises urllib3's HTTPError or OSError where not all of them could be opened; those that could, wait.
        """
        missing = count - len(self._idle)
        if missing < 2:  # a single one is opened by the request that needs it
            return
        with ThreadPoolExecutor(missing, thread_name_prefix="sync-connect") as pool:
            futures = [pool.submit(self._connected) for _ in range(missing)]
        for future in futures:
            if future.exception() is None:
                self.give_back(future.result(), is_usable=True)
        for future in futures:
            future.result()

    @property
    def has_idle(self) -> bool:
        """Whether a request can be sent without a connection being made for it."""
        return bool(self._idle)

    def _connected(self) -> Any:
        connection = self._pool._new_conn()
        try:
            if self._is_tunnelled:
                self._pool._prepare_proxy(connection)
            else:
                connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Release the connections."""
        _close_all(self._idle)
        self._pools.clear()


def _close_all(connections: list[Any]) -> None:
    while connections:
        connections.pop().close()


def _send(sock: Any, head: bytes, body: Iterable[bytes | memoryview]) -> OSError | None:
    """Send a request. A server that refuses before it has the whole body closes: its answer may be there to be read."""
    _limit(sock, PIECE_S)
    try:
        for piece in body:
            sock.sendall(head + piece if head else piece)
            head = b""
        if head:
            sock.sendall(head)
    except (BrokenPipeError, ConnectionResetError) as error:
        return error
    return None


def _limit(sock: Any, limit_s: float) -> None:
    """How long each read or write may take."""
    if sock.gettimeout() != limit_s:  # to set it is a system call
        sock.settimeout(limit_s)


def _pools(scheme: str, host: str, timeout: urllib3.Timeout) -> tuple[urllib3.PoolManager, str | None]:
    """Connections as urllib3 makes them, through the proxy that the environment names for `host`; and that proxy."""
    options: dict[str, Any] = {"timeout": timeout}
    if scheme == "https":
        trusted = ssl.create_default_context(cafile=certifi.where())
        trusted.load_default_certs()
        options["ssl_context"] = trusted
    proxies = {} if proxy_bypass(host) else getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return urllib3.PoolManager(**options), None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = urlsplit(proxy)
    secret = f"{unquote(login.username)}:{unquote(login.password or '')}" if login.username else None
    headers = urllib3.make_headers(proxy_basic_auth=secret) if secret else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options), proxy
