"""An HTTP/1.1 answer as it arrives: its header, then its body, both whole or an error. Source: RFC 9112."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from urllib3.exceptions import ProtocolError

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


class Source:
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


class Keeper(Protocol):
    """Where the connections come from."""

    def give_back(self, connection: Any, *, is_usable: bool) -> None:
        """It carries the next request, or nothing any more."""
        ...


class Incoming:
    """An answer whose header is known and whose body is to be read, once. Raises ProtocolError where it is cut.

    It is to be entered with `with`: on the way out its connection is kept for the next request, or closed.
    """

    def __init__(self, head: Head, source: Source, origin: Keeper, connection: Any, *, is_last: bool) -> None:
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
