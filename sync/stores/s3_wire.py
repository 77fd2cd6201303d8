"""Signed S3 requests over HTTP: one pool of connections, no retries, no SDK.

A vendor's SDK costs 2.5 ms of CPU a request, 0.4 s of start and 30 MB of memory in a process that lives as long as
the node (docs/decisions/0203): the few requests that the store needs are said here as they are on the wire.
"""

from __future__ import annotations

import contextlib
import http.client
import mmap
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sync.clock import Clock
from sync.stores.carrier import Timeouts
from sync.stores.s3_answers import refusal
from sync.stores.s3_signing import UNSIGNED, Keys, escaped, payload_hash, query_string, signed

CONNECTIONS = 64
PIECE_BYTES = 128 * 1024  # of a body
PIECE_S = 30.0  # for each of them: an upload is bounded by its progress and not by its size


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent. `pieces` may be asked for twice: once to be hashed, once to be sent."""

    size: int = 0
    content: bytes | memoryview = b""
    file: Any = None  # an open file instead, read from its beginning
    md5: str = ""  # base64; the server compares

    def pieces(self) -> Iterator[Any]:
        """The body bit by bit."""
        if self.file is None:
            view = memoryview(self.content)
            for start in range(0, len(view), PIECE_BYTES):
                yield view[start : start + PIECE_BYTES]
            return
        self.file.seek(0)
        while piece := self.file.read(PIECE_BYTES):
            yield piece


NOTHING = Body()


class _Lines:
    """The reading side of a connection, which remembers the last line."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._inner.readline(limit)
        return self.last

    def close(self) -> None:
        self._inner.close()


class _Whole(http.client.HTTPResponse):
    """An answer whose header has its end: the standard library takes one that was cut for a whole one."""

    def begin(self) -> None:
        source: Any = self.fp
        lines: Any = _Lines(source)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = source
        if lines.last.strip(b"\r\n") or not lines.last:
            raise http.client.RemoteDisconnected("the header of the answer ended in the middle")


class _Plain(HTTPConnection):
    response_class = _Whole

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(PIECE_S)  # urllib3 would give each piece of a body the few seconds of the connect


class _Secure(HTTPSConnection):
    response_class = _Whole

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(PIECE_S)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class Wire:
    """Requests to one bucket. Thread-safe. Raises Refused, or urllib3's HTTPError where there was no answer."""

    def __init__(
        self, endpoint: str, bucket: str, *, virtual_host: bool, region: str, keys: Keys, times: Timeouts, clock: Clock
    ) -> None:
        parts = urlsplit(endpoint)
        default = {"http": 80, "https": 443}[parts.scheme]
        name = parts.hostname or ""
        name = f"[{name}]" if ":" in name else name
        host = name if parts.port in (None, default) else f"{name}:{parts.port}"
        self._host = f"{bucket}.{host}" if virtual_host else host
        self._above = parts.path.rstrip("/") + ("" if virtual_host else f"/{bucket}")
        self._is_secure = parts.scheme == "https"
        self._origin = f"{parts.scheme}://{self._host}"
        self._region, self._keys, self._clock = region, keys, clock
        self._timeout = urllib3.Timeout(connect=times.connect_s, read=times.read_s)
        self._pools, self._is_proxied = connections(parts.scheme, self._host)
        self._pool = self._pools.connection_from_url(self._origin)

    def ask(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = NOTHING,
    ) -> Answer:
        """One request and its whole answer. `key` is the full key, "" the bucket itself."""
        with self.opened(method, key, query, headers, body) as response:
            content = response.read()
            return Answer(response.status, _lower(response.headers), content)

    def take(self, key: str, headers: Mapping[str, str], start: int, length: int) -> memoryview:
        """`length` bytes of an object from `start`, or what it has of them: from the socket into memory of their own.

        A client that gathers pieces, joins and hands them over copies each byte three times more.
        """
        span = {"range": f"bytes={start}-{start + length - 1}"}
        with self.opened("GET", key, headers={**headers, **span}) as response:
            if response.status != 206:  # the whole object: some servers have no ranges of some
                return memoryview(response.read())[start : start + length]
            stated = int(response.headers.get("content-length") or length)
            if stated > length:
                raise urllib3.exceptions.ProtocolError(f"{stated} bytes come where {length} were asked for")
            content = memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            source = response._fp  # type: ignore[attr-defined]  # urllib3's own readinto copies
            at = 0
            while at < stated and (got := source.readinto(content[at:stated])):
                at += got
            if at < stated:
                raise urllib3.exceptions.ProtocolError(f"the body ended after {at} of {stated} bytes")
            return content[:at]

    @contextlib.contextmanager
    def opened(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = NOTHING,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """One request; the answer's body is read by the caller."""
        path = f"{self._above}/{escaped(key, safe='/')}" if key else self._above or "/"
        asked = query_string(query or {})
        own = dict(headers or {})
        if body.md5:
            own["content-md5"] = body.md5
        # The Content-MD5 is signed, and nobody finds another content for it: a second digest of a body proves no more.
        payload = UNSIGNED if body.md5 else payload_hash(body.pieces())
        whole = signed(
            method,
            self._host,
            path,
            asked,
            own,
            keys=self._keys,
            region=self._region,
            now_s=self._clock.now(),
            payload=payload,
        )
        whole["user-agent"] = "preflight-sync"
        if method in ("PUT", "POST"):
            whole["content-length"] = str(body.size)
        target = f"{path}?{asked}" if asked else path
        response = self._pool.urlopen(
            method,
            self._origin + target if self._is_proxied and not self._is_secure else target,
            body=body.pieces() if body.size else None,
            headers=whole,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
            preload_content=False,
            decode_content=False,
        )
        try:
            if response.status >= 300:
                raise refusal(response.status, _lower(response.headers), response.read())
            yield response
        except BaseException:
            response.close()  # what is left of the body would be taken for the next answer
            raise
        response.release_conn()

    def close(self) -> None:
        """Release the connections."""
        self._pools.clear()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def connections(scheme: str, host: str) -> tuple[urllib3.PoolManager, bool]:
    """A pool of connections, through the proxy that the environment names for `host`, and whether there is one."""
    options: dict[str, Any] = {"num_pools": 2, "maxsize": CONNECTIONS}
    if scheme == "https":
        trusted = ssl.create_default_context(cafile=certifi.where())
        trusted.load_default_certs()
        options["ssl_context"] = trusted
    proxies = {} if proxy_bypass(host) else getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    pools: urllib3.PoolManager
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        login = urlsplit(proxy)
        secret = f"{unquote(login.username)}:{unquote(login.password or '')}" if login.username else None
        headers = urllib3.make_headers(proxy_basic_auth=secret) if secret else None
        pools = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    else:
        pools = urllib3.PoolManager(**options)

    pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pools, bool(proxy)
