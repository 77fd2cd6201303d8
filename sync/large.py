"""Files above one part: sent in parts, side by side, and gone on with after a kill.

Nothing is published before every part is known to be of one state of the file: a first pass hashes the parts, a part
that reads differently later stops the upload, and only the last request makes an object of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sync.conflict import preserve
from sync.errors import Contended, NotFound, PreconditionFailed, SyncError, Transient, Unstable
from sync.files import Reading
from sync.lease import Unconfirmed
from sync.looks import meta_of, same_looks
from sync.names import key_of
from sync.same import find_ours, is_same, same_marks
from sync.stores import ABSENT, ObjectInfo, Part, Precondition, only_over
from sync.tree import Entry, Row
from sync.work import Copy, Later, Outcome, Saved, Task, World

CONFIRMED_S = 30  # how long a confirmation of the lease may take on a line that is full of our own parts
MOST_UNFINISHED = 32  # uploads that failed and are kept in mind; the others are read again
MOST_PARTS = 9_000  # providers allow 10,000
_MIB = 1024 * 1024
PIECE_BYTES = 256 * 1024  # read and hashed at once: it is still in the processor's cache for the second digest


def part_bytes_for(size: int, least: int) -> int:
    """The part size for a file: the store's own, or whole MiB more so that the parts suffice."""
    needed = -(-size // MOST_PARTS)
    return max(least, -(-needed // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class _Digests:
    whole: bytes  # MD5
    parts: tuple[int, ...]  # CRC-32: only compared with what the same process reads again


def _hash(reading: Reading, part_bytes: int) -> _Digests:
    whole = hashlib.md5()
    parts: list[int] = []
    size = reading.entry.size
    for start in range(0, size, part_bytes):
        crc, end = 0, min(start + part_bytes, size)
        for at in range(start, end, PIECE_BYTES):
            piece = reading.read_at(at, min(PIECE_BYTES, end - at))
            whole.update(piece)
            crc = zlib.crc32(piece, crc)
        parts.append(crc)
    reading.check()
    return _Digests(whole.digest(), tuple(parts))


@dataclass(slots=True)
class Unfinished:
    """An upload under way, as this process knows it: one that fails goes on without reading anything again."""

    entry: Entry  # the state of the file that was hashed: another one is another upload
    part_bytes: int
    digests: _Digests
    upload: str = ""
    done: dict[int, Part] = field(default_factory=dict)  # what the server acknowledged


def _remember(world: World, path: str, begun: Unfinished) -> None:
    world.unfinished[path] = begun
    while len(world.unfinished) > MOST_UNFINISHED:
        world.unfinished.pop(next(iter(world.unfinished)), None)


def _forget(world: World, path: str) -> None:
    world.unfinished.pop(path, None)
    world.note_upload(path, None)


def send_large(task: Task, world: World, reading: Reading, entry: Entry) -> Outcome:
    """Upload an open file in parts.

    Raises:
        Unstable: the file changed; nothing was published.
    """
    store, key = world.store, key_of(task.path)
    size = reading.entry.size
    part_bytes = part_bytes_for(size, store.facts.part_bytes)
    begun = world.unfinished.get(task.path)
    if begun is None or begun.entry != reading.entry or begun.part_bytes != part_bytes:
        begun = Unfinished(reading.entry, part_bytes, _hash(reading, part_bytes))
    digests = begun.digests
    row = task.row
    if row is not None and not task.is_doubtful and row.md5 == digests.whole and same_looks(row.entry, entry):
        return Saved(task.path, Row(entry, row.version, size, digests.whole), was_sent=False)
    if reading.is_racy():
        return Later(task.path, "it was written a moment ago")
    meta = meta_of(entry) | {"md5chksum": base64.b64encode(digests.whole).decode()}
    _remember(world, task.path, begun)
    if not begun.upload:
        begun.upload, found = _resume(task, world, key, reading, digests, part_bytes)
        begun.done.update(found)
    if not begun.upload:
        _wait_for_permit(world)
        begun.upload = store.start_upload(key, meta=meta)
        note = {"upload": begun.upload, "md5": digests.whole.hex(), "part_bytes": part_bytes}
        world.note_upload(task.path, json.dumps(note))
    upload, done = begun.upload, begun.done
    try:
        missing = [n for n in range(1, len(digests.parts) + 1) if n not in done]
        world.side_by_side([partial(_send_part, world, key, n, reading, begun) for n in missing])
        reading.check()
        parts = [done[n] for n in sorted(done)]
        info, copies = _publish(task, world, key, upload, parts, digests.whole, size, meta)
    except Unstable:
        _abort(world, key, upload)
        _forget(world, task.path)
        raise
    except NotFound as error:  # the provider forgot the upload
        begun.upload, begun.done = "", {}
        world.note_upload(task.path, None)
        raise Transient("The unfinished upload expired", where=key) from error
    _forget(world, task.path)
    return Saved(task.path, Row(entry, info.version, size, digests.whole), was_sent=True, copies=tuple(copies))


def _resume(
    task: Task, world: World, key: str, reading: Reading, digests: _Digests, part_bytes: int
) -> tuple[str, dict[int, Part]]:
    """The unfinished upload of this very content, if the journal noted one, and the parts the server has."""
    if task.note is None:
        return "", {}
    note: dict[str, Any] = json.loads(task.note)
    upload = str(note["upload"])
    if note["md5"] != digests.whole.hex() or note["part_bytes"] != part_bytes:
        _abort(world, key, upload)
        return "", {}
    try:
        found = world.store.list_parts(key, upload)
    except NotFound:
        return "", {}
    whole = {p.number: p for p in found if 0 < p.number <= len(digests.parts)}
    if world.store.facts.etag_is_md5:
        for number, part in list(whole.items()):
            body = reading.read_at(*_span(number, part_bytes, reading.entry.size))
            if part.version.strip('"') != hashlib.md5(body).hexdigest():
                del whole[number]
    return upload, whole


def _span(number: int, part_bytes: int, size: int) -> tuple[int, int]:
    """Where part `number` begins, and how long it is."""
    at = (number - 1) * part_bytes
    return at, min(part_bytes, size - at)


def _send_part(world: World, key: str, number: int, reading: Reading, begun: Unfinished) -> None:
    body = reading.read_at(*_span(number, begun.part_bytes, reading.entry.size))
    if zlib.crc32(body) != begun.digests.parts[number - 1]:
        raise Unstable("The file changed while it was sent", where=key)
    world.spend(len(body))
    with suppress(Unconfirmed):  # nobody sees a part: to publish them needs the permit, and a lost lease ends it here
        world.permit()
    begun.done[number] = world.store.put_part(key, begun.upload, number, body)


def _publish(
    task: Task,
    world: World,
    key: str,
    upload: str,
    parts: list[Part],
    digest: bytes,
    size: int,
    meta: Mapping[str, str],
) -> tuple[ObjectInfo, list[Copy]]:
    """Make the parts an object; foreign content under the name is preserved first."""
    only_if: Precondition = ABSENT if task.row is None else only_over(task.row.version)
    copies: list[Copy] = []
    task.announce(world, size, digest)
    for _ in range(3):
        _wait_for_permit(world)
        try:
            return world.store.finish_upload(key, upload, parts, only_if=only_if), copies
        except PreconditionFailed:
            try:
                info = world.store.head(key)
            except NotFound:
                only_if = ABSENT
                continue
            same = is_same(world, key, info, size, digest)
            if same and same_marks(info, meta, ("mode", "symlink")):
                _abort(world, key, upload)
                return info, copies
            if not same and find_ours(world, key, info, task.ours) is None:
                world.confirm()
                copies.append(preserve(task, info, world))
            only_if = only_over(info.version)
    raise Contended("The object keeps changing in the bucket", where=key)


def _wait_for_permit(world: World) -> None:
    """A lease that is being confirmed is waited for: to begin anew would read the whole file again."""
    for _ in range(CONFIRMED_S):
        try:
            world.permit()
            return
        except Unconfirmed:
            world.clock.sleep(1.0)
    world.permit()


def _abort(world: World, key: str, upload: str) -> None:
    """Give the parts back; a policy may refuse, then the bucket's lifecycle rule must."""
    try:
        world.store.abort_upload(key, upload)
    except SyncError:
        return
