"""What is sent: bytes, or a file that may change or vanish while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from sync.errors import Unstable


@contextmanager
def local_file(path: Path) -> Iterator[None]:
    """Trouble with our own file is not the server's: raise Unstable, so that it is read again next round."""
    try:
        yield
    except OSError as error:
        raise Unstable(f"the file cannot be read: {error.strerror}", where=str(path)) from error


def size_of(body: bytes | Path) -> int:
    """Bytes. Raises Unstable when the file is gone."""
    if isinstance(body, bytes):
        return len(body)
    with local_file(body):
        return body.stat().st_size


def read(path: Path) -> bytes:
    """The whole file. Raises Unstable when it is gone."""
    with local_file(path):
        return path.read_bytes()


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """The file, open. Raises Unstable when it is gone; errors while it is used are the user's business."""
    with local_file(path):
        file = path.open("rb")
    with file:
        yield file
