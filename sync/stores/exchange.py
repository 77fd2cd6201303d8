"""HTTP/1.1 requests to one origin: connections by urllib3 (names, TLS, proxies), what goes over them by ourselves.

General clients take 0.25 to 0.6 ms of CPU a request and four thread switches: more than everything else that a save
of a small file costs, the disk included (docs/decisions/0206). What is needed of HTTP here is small: one request with
a body of known length, one answer, both whole or an error. Source: RFC 9112.
"""

from __future__ import annotations

import select
import ssl
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.exceptions import ProtocolError
from urllib3.util.wait import wait_for_read

from sync.stores.incoming import Incoming, Source, head_of
from sync.stores.network import Timeouts

IDLE = 96  # connections that wait for the next request
INTERIM = 16  # answers before the answer (RFC 9110, 15.2); each may take as long as an answer
PIECE_BYTES = 128 * 1024  # of a body
PIECE_S = 30.0  # for each of them: an upload is bounded by its progress and not by its size


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
            source = Source(sock)
            try:
                heads = (head_of(self._method, source.head()) for _ in range(INTERIM + 1))
                head = next((head for head in heads if head.status >= 200), None)
                if head is None:
                    raise ProtocolError("interim answers without end")
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
