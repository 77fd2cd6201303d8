"""The server of the simulation: one bucket that forgets nothing.

Every version that ever existed stays in `history` with who wrote it and who ended it, so that an invariant can be
asked of any moment. Several `MemoryStore`s (one a node, one for a person at the console) talk to one `Bucket`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sync.errors import NotFound, PreconditionFailed, Unsupported
from sync.stores import ANY, Part, Precondition, Writes

OURS = ".preflight/"  # our part of a prefix: lease, trash, stranded, records


@dataclass(slots=True)
class Version:
    """One content that a key had."""

    number: int
    key: str
    content: bytes
    meta: Mapping[str, str]
    writer: str
    at_s: float
    how: str  # "put", "copy", "finish"
    tag: str  # what preconditions compare
    source: Version | None = None  # of a server-side copy
    ended_by: str | None = None
    ended_how: str = ""
    ended_at_s: float | None = None
    read_by: set[str] = field(default_factory=set)  # who got its content
    md5: bytes = field(init=False)  # of the content

    def __post_init__(self) -> None:
        self.md5 = hashlib.md5(self.content, usedforsecurity=False).digest()

    def __str__(self) -> str:
        return f"{self.key}#{self.number}"


@dataclass(slots=True)
class Upload:
    """A multipart upload under way."""

    key: str
    meta: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


# (who, key, version before, version after): told after every change.
Watcher = Callable[[str, str, "Version | None", "Version | None"], None]


class Bucket:
    """Objects, their past, and the conditional-write class that the server enforces."""

    def __init__(self, writes: Writes, *, md5_tags: bool = False) -> None:
        self.writes = writes
        self.md5_tags = md5_tags  # ETags are MD5s (a content that returns gets its old ETag back) or are unique
        self.contents: set[tuple[str, bytes]] = set()  # (key, content) that ever was
        self.live: dict[str, Version] = {}
        self.history: list[Version] = []
        self.named: dict[tuple[str, str], Version] = {}  # (key, tag) -> the last version that was called so
        self.uploads: dict[str, Upload] = {}
        self.watchers: list[Watcher] = []

    def find(self, key: str) -> Version:
        """The live version. Raises NotFound."""
        version = self.live.get(key)
        if version is None:
            raise NotFound("no such object", where=key)
        return version

    def write(
        self,
        key: str,
        content: bytes,
        meta: Mapping[str, str],
        *,
        writer: str,
        at_s: float,
        how: str = "put",
        only_if: Precondition = ANY,
        source: Version | None = None,
    ) -> Version:
        """Make `content` the live version. Raises PreconditionFailed; Unsupported for what the class cannot compare."""
        self.compare(key, only_if)
        number = len(self.history) + 1
        tag = hashlib.md5(content, usedforsecurity=False).hexdigest() if self.md5_tags else f"t{number}"
        new = Version(number, key, bytes(content), dict(meta), writer, at_s, how, f'"{tag}"', source)
        new.read_by.add(writer)
        self.history.append(new)
        self.named[key, new.tag] = new
        self.contents.add((key, new.content))
        old = self._end(key, writer, at_s, how)
        self.live[key] = new
        for watcher in self.watchers:
            watcher(writer, key, old, new)
        return new

    def remove(self, key: str, *, writer: str, at_s: float, if_version: str | None = None) -> None:
        """End the live version; a missing key is no error."""
        if key not in self.live:
            return
        if if_version is not None and self.writes is not Writes.FULL:
            raise Unsupported("this server cannot compare before a delete", where=key)
        if if_version is not None and self.live[key].tag != if_version:
            raise PreconditionFailed("the object is not the version that was named", where=key)
        old = self._end(key, writer, at_s, "delete")
        del self.live[key]
        for watcher in self.watchers:
            watcher(writer, key, old, None)

    def start(self, key: str, meta: Mapping[str, str]) -> str:
        """Begin a multipart upload."""
        name = f"u{len(self.uploads) + 1}"
        self.uploads[name] = Upload(key, dict(meta))
        return name

    def upload(self, key: str, name: str) -> Upload:
        """The upload under way. Raises NotFound when it expired or ended."""
        found = self.uploads.get(name)
        if found is None or found.key != key:
            raise NotFound("no such upload", where=key)
        return found

    def parts(self, key: str, name: str) -> tuple[Part, ...]:
        """What the server has of an upload."""
        found = self.upload(key, name)
        return tuple(Part(number, f'"p{number}"', len(body)) for number, body in sorted(found.parts.items()))

    def compare(self, key: str, only_if: Precondition) -> None:
        """Raise unless `only_if` holds for the live version."""
        if only_if.if_absent and self.writes is Writes.NONE:
            raise Unsupported("this server ignores preconditions", where=key)
        if only_if.if_version is not None and self.writes is not Writes.FULL:
            raise Unsupported("this server cannot compare before a write", where=key)
        live = self.live.get(key)
        if only_if.if_absent and live is not None:
            raise PreconditionFailed("the object exists already", where=key)
        if only_if.if_version is not None and (live is None or live.tag != only_if.if_version):
            raise PreconditionFailed("the object is not the version that was named", where=key)

    def user_keys(self) -> dict[str, Version]:
        """What is live outside our own part."""
        return {key: version for key, version in self.live.items() if not key.startswith(OURS)}

    def _end(self, key: str, writer: str, at_s: float, how: str) -> Version | None:
        old = self.live.get(key)
        if old is not None:
            old.ended_by, old.ended_how, old.ended_at_s = writer, how, at_s
        return old
