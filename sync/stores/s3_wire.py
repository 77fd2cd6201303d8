"""Signed S3 requests: one pool of connections, no retries, no SDK.

A vendor's SDK costs 2.5 ms of CPU a request, 0.4 s of start and 30 MB of memory in a process that lives as long as
the node (docs/decisions/0203): the few requests that the store needs are said here as they are on the wire.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from urllib3.exceptions import ProtocolError

from sync.clock import Clock
from sync.stores.exchange import PIECE_BYTES, Origin, Sent
from sync.stores.incoming import Incoming
from sync.stores.network import Timeouts
from sync.stores.s3_answers import refusal
from sync.stores.s3_signing import UNSIGNED, Keys, escaped, payload_hash, query_string, signed


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


class Wire:
    """Requests to one bucket. Thread-safe. Raises Refused; urllib3's HTTPError or OSError where there was no answer."""

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
        self._region, self._keys, self._clock = region, keys, clock
        self._origin = Origin(parts.scheme, self._host, times)

    def ask(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = NOTHING,
    ) -> Answer:
        """One request and its whole answer. `key` is the full key, "" the bucket itself."""
        with success(self.send(method, key, query, headers, body)) as answer:
            return Answer(answer.status, answer.headers, answer.read())

    def take(self, key: str, headers: Mapping[str, str], start: int, length: int) -> memoryview:
        """`length` bytes of an object from `start`, or what it has of them: from the socket into memory of their own.

        A client that gathers pieces, joins and hands them over copies each byte three times more.
        """
        span = {"range": f"bytes={start}-{start + length - 1}"}
        with success(self.send("GET", key, headers={**headers, **span})) as answer:
            if answer.status != 206:  # the whole object: some servers have no ranges of some
                return memoryview(answer.read())[start : start + length]
            stated = int(answer.headers.get("content-length", length + 1))
            if stated > length:
                raise ProtocolError(f"{stated} bytes come where {length} were asked for")
            if stated <= PIECE_BYTES:
                return memoryview(answer.read())
            content = memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            return content[: answer.read_into(content)]

    def send(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = NOTHING,
    ) -> Sent:
        """One request, whose answer (`success`) may be read later: others can be sent meanwhile."""
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
        return self._origin.send(method, target, whole, body.pieces() if body.size else ())

    def warm(self, count: int) -> None:
        """See `Origin.warm`."""
        self._origin.warm(count)

    @property
    def has_idle(self) -> bool:
        """See `Origin.has_idle`."""
        return self._origin.has_idle

    def close(self) -> None:
        """Release the connections."""
        self._origin.close()


def success(sent: Sent) -> Incoming:
    """The answer to a request. Raises Refused for one that is no success."""
    answer = sent.answer()
    if answer.status >= 300:
        with answer:
            raise refusal(answer.status, answer.headers, answer.read())
    return answer
