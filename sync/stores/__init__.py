"""The contract between the engine and a bucket: what a store must do, and nothing about any vendor.

A new provider is one file in this folder (or one row of the S3 profile table); the suite in
`tests/contract/` runs on every one of them.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Protocol


class Writes(enum.Enum):
    """Conditional-write class of a store: which of our guarantees its server can enforce."""

    FULL = "full"  # put and delete compare the version last seen
    CREATE_ONLY = "create-only"  # put can refuse to overwrite; no compare-and-swap
    NONE = "none"  # nothing is enforced: lease by convention, check before write


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What this store can do. Declared by the provider's profile, corrected by the capability probe."""

    provider: str  # "file", "aws", "azure", "gcs", "oss", ...
    writes: Writes = Writes.FULL
    delete_if_match: bool = True
    copy: bool = True  # server-side copy exists
    etag_is_md5: bool = False  # of single-part uploads, unencrypted
    lists_in_order: bool = True
    max_put_bytes: int = 5 * 1024**3  # a larger body needs multipart
    part_bytes: int = 8 * 1024**2
    together: bool = False  # sends several small requests without waiting (`together.py`)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object. `version` is the ETag or generation exactly as preconditions take it (opaque)."""

    key: str
    size: int
    version: str
    modified: float  # seconds since the epoch by the server's clock
    meta: Mapping[str, str] = field(default_factory=dict)  # user metadata; empty when it came from a listing
    md5: bytes | None = None  # of the content, where the provider states it


@dataclass(frozen=True, slots=True)
class Precondition:
    """When a write may happen: ANY, only if absent, or only over exactly this version."""

    if_version: str | None = None
    if_absent: bool = False


ANY = Precondition()
ABSENT = Precondition(if_absent=True)


def only_over(version: str) -> Precondition:
    """A write that may replace exactly `version` and nothing else."""
    return Precondition(if_version=version)


@dataclass(frozen=True, slots=True)
class Write:
    """One `put` of several."""

    key: str
    body: bytes
    meta: Mapping[str, str]
    only_if: Precondition = ANY


@dataclass(frozen=True, slots=True)
class Read:
    """One `get` of several."""

    key: str
    if_version: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One acknowledged part of a multipart upload (number from 1)."""

    number: int
    version: str
    size: int


class Meter:
    """Thread-safe counts of requests by verb ("put", "get", "list", "head", "delete", "copy", "part", ...)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def count(self, verb: str, *, sent: int = 0, received: int = 0) -> None:
        """Record one HTTP request (also a refused or failed one: the provider bills it)."""
        with self._lock:
            self._requests[verb] += 1
            self._bytes["sent"] += sent
            self._bytes["received"] += received

    def add_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """Record body bytes of a request that was counted when it started."""
        with self._lock:
            self._bytes["sent"] += sent
            self._bytes["received"] += received

    def requests(self) -> dict[str, int]:
        """Requests so far, by verb."""
        with self._lock:
            return dict(self._requests)

    def transferred(self) -> dict[str, int]:
        """Body bytes so far: "sent" and "received"."""
        with self._lock:
            return {"sent": self._bytes["sent"], "received": self._bytes["received"]}


class Store(Protocol):
    """A bucket prefix. Keys are relative to the prefix, `/`-separated, and never leave it.

    Thread-safe. `put` is all-or-nothing, and after it returned `get`, `head` and `list` see it.
    `list` is complete or raises. `get` never returns short. Only errors of `sync.errors` leave a store.
    No method retries: exactly one layer does (`stores/retry.py`). Every request is counted in `meter`.
    """

    @property
    def facts(self) -> StoreFacts:
        """What this store can do."""
        ...

    @property
    def meter(self) -> Meter:
        """Requests and bytes so far."""
        ...

    @property
    def url(self) -> str:
        """For people: scheme, bucket and prefix, no credentials."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, page by page (memory stays bounded)."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """Metadata of one object. Raises NotFound; Denied where the policy hides absence behind 403."""
        ...

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        """Write the whole object into `into`, streaming. Raises PreconditionFailed if `if_version` is gone."""
        ...

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes | memoryview:
        """`length` bytes from `start` (fewer only at the end of the object)."""
        ...

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        """Store `body` in one request (at most `facts.max_put_bytes`). The server verified its checksum.

        Raises PreconditionFailed if `only_if` does not hold, Unsupported if it cannot be enforced.
        """
        ...

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        """Server-side copy with its metadata. Raises Unsupported where the provider has none."""
        ...

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        """Remove one object; a missing key is not an error. Raises PreconditionFailed on another version."""
        ...

    # Large files: the engine drives the parts, because it can resume them from its journal.
    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        """Begin a multipart upload and return its id."""
        ...

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        """Send part `number` (from 1; all but the last have the same size, >= 5 MiB)."""
        ...

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        """Parts that the server already has. Raises NotFound if the upload expired."""
        ...

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        """Publish the parts as one object, atomically."""
        ...

    def abort_upload(self, key: str, upload: str) -> None:
        """Forget the parts; never raises for a missing upload, Denied where the policy lacks the right."""
        ...

    def close(self) -> None:
        """Release connections; the store is not used afterwards."""
        ...
