"""From the folder to the bucket, one path at a time. Runs in workers: reads, sends, answers; decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sync import settle
from sync.conflict import Resolved, resolve
from sync.disk import classified
from sync.errors import Contended, NotFound, PreconditionFailed, SyncError, Unstable, Unsupported
from sync.files import Reading
from sync.large import send_large
from sync.looks import meta_of, same_looks
from sync.names import key_of, trash_key
from sync.stores import ABSENT, ANY, ObjectInfo, Precondition, Write, only_over
from sync.stores.together import put_many
from sync.tree import Entry, Kind, Row, smudge
from sync.twins import is_abandoned, is_torn, mend, twin_of
from sync.work import Deleted, Failed, Foreign, Later, Outcome, Saved, Task, Unsaveable, Vanished, World

T = TypeVar("T")
PROMPT_S = 5.0  # what was answered within this was not sent twice
RELAY_BYTES = 64 * 1024 * 1024  # without server-side copies the trash takes objects up to this size


@dataclass(slots=True)
class _Ready:
    """An upload of which nothing is missing but the request."""

    task: Task
    write: Write
    stamp: Entry
    digest: bytes
    is_racy: bool


def upload(task: Task, world: World) -> Outcome:
    """Bring one path's present content into the bucket, over exactly the version the journal knows."""
    ((_, outcome),) = upload_together([task], world)
    return outcome


def upload_together(tasks: Sequence[Task], world: World) -> Iterator[tuple[int, Outcome]]:
    """The same for several small files: number and outcome of each, in the order of the answers."""
    ready: list[_Ready] = []
    numbers: list[int] = []
    for number, task in enumerate(tasks):
        found = _guarded(task, partial(_prepared, task, world))
        if isinstance(found, _Ready):
            ready.append(found)
            numbers.append(number)
        else:
            yield number, found
    if len(ready) > 1 and (refusal := _refusal(world)) is not None:  # the first was permitted a while ago
        for number, item in zip(numbers, ready, strict=True):
            yield number, Failed(item.task.path, refusal)
        return
    for place, result in put_many(world.store, [item.write for item in ready]):
        item = ready[place]
        yield numbers[place], _guarded(item.task, partial(_sent, item, result, world))


def _refusal(world: World) -> SyncError | None:
    try:
        world.permit()
    except SyncError as error:
        return error
    return None


def _prepared(task: Task, world: World) -> Outcome | _Ready:
    if task.entry.kind is Kind.LINK:
        return _upload_link(task, world)
    if task.entry.kind is Kind.DIR:
        found = world.files.entry(task.path.rstrip("/"))
        if found is None or found.kind is not Kind.DIR:
            return Vanished(task.path)
        return _with_body(task, world, b"", task.entry, is_racy=False)
    return _upload_file(task, world)


def _guarded(task: Task, act: Callable[[], T]) -> T | Outcome:
    """What `act` answers or raises, as an outcome."""
    try:
        return act()
    except Unstable as error:
        return Later(task.path, str(error))
    except FileNotFoundError:
        return Vanished(task.path)
    except NotADirectoryError:
        return Vanished(task.path)
    except PermissionError:
        return Unsaveable(task.path, "The file cannot be read: permission denied")
    except OSError as error:
        known = classified(error, task.path)
        return (
            Failed(task.path, known) if known else Unsaveable(task.path, f"The file cannot be read: {error.strerror}")
        )
    except (Contended, Unsupported) as error:
        return Unsaveable(task.path, str(error))
    except SyncError as error:
        return Failed(task.path, error, tuple(task.sent))


def _upload_link(task: Task, world: World) -> Outcome | _Ready:
    try:
        body = world.files.target(task.path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise Unstable("It is no longer a link", where=task.path) from error
    return _with_body(task, world, body.encode("utf-8", "surrogateescape"), task.entry, is_racy=False)


def _upload_file(task: Task, world: World) -> Outcome | _Ready:
    if task.entry.extra and (snapshot := world.files.snapshot(task.path)) is not None:
        with snapshot as reading:
            # The stamp is the live database's; the content is the snapshot's.
            return _send_reading(task, world, reading, task.entry, is_snapshot=True)
    with world.files.open(task.path) as reading:
        entry = reading.entry._replace(extra=task.entry.extra)
        if task.is_exact and entry != task.entry:
            raise Unstable("The file changed since its folder was scanned", where=task.path)
        return _send_reading(task, world, reading, entry, is_snapshot=False)


def _send_reading(task: Task, world: World, reading: Reading, entry: Entry, *, is_snapshot: bool) -> Outcome | _Ready:
    size = reading.entry.size
    if size > settle.SMALL_BYTES:
        if task.origin is not None and (moved := _move(task, world, _digest(reading), entry)) is not None:
            return moved
        return send_large(task, world, reading, entry)
    body = reading.read_at(0, size)
    if not is_snapshot:
        _check_twin(task.path, body, world)
        reading.check()
    is_racy = not is_snapshot and reading.is_racy()
    if task.origin is not None and (moved := _move(task, world, hashlib.md5(body).digest(), entry)) is not None:
        return moved
    return _with_body(task, world, body, entry, is_racy=is_racy)


def _check_twin(path: str, body: bytes, world: World) -> None:
    """Refuse the states that JupyterLab's in-place save passes through while its `.~` twin exists."""
    if world.files.entry(twin_of(path)) is None or not is_torn(path, body):
        return
    if not mend(path, world) and is_abandoned(path, world):
        raise Unsupported("An interrupted save left it torn, and the twin of JupyterLab is no better", where=path)
    raise Unstable("JupyterLab is saving it", where=path)


def _digest(reading: Reading) -> bytes:
    digest = hashlib.md5()
    at = 0
    while at < reading.entry.size:
        piece = reading.read_at(at, min(settle.SMALL_BYTES, reading.entry.size - at))
        digest.update(piece)
        at += len(piece)
    reading.check()
    return digest.digest()


def _with_body(task: Task, world: World, body: bytes, entry: Entry, *, is_racy: bool) -> Outcome | _Ready:
    digest = hashlib.md5(body).digest()
    row = task.row
    stamp = smudge(entry) if is_racy else entry
    if row is not None and not task.is_doubtful and row.md5 == digest and same_looks(row.entry, entry):
        return Saved(task.path, Row(stamp, row.version, len(body), digest), was_sent=False, is_racy=is_racy)
    world.spend(len(body))
    world.permit()
    only_if = ABSENT if row is None else only_over(row.version)
    if row is not None and row.size and entry.kind is Kind.FILE and is_emptied(body):
        _keep_emptied(task.path, row, world)
    task.announce(world, len(body), digest)
    return _Ready(task, Write(key_of(task.path), body, meta_of(entry), only_if), stamp, digest, is_racy)


def _sent(item: _Ready, result: ObjectInfo | SyncError, world: World) -> Outcome:
    """What became of an upload, by what became of its request."""
    task, body = item.task, item.write.body
    if isinstance(result, PreconditionFailed):
        resolved = resolve(task, body, item.digest, item.write.meta, world)
    elif isinstance(result, SyncError):
        raise result
    else:
        resolved = Resolved(result)
    saved = Row(item.stamp, resolved.info.version, len(body), item.digest)
    return Saved(task.path, saved, was_sent=True, is_racy=item.is_racy, copies=resolved.copies)


def is_emptied(body: bytes) -> bool:
    """Whether nothing is left of a content: what a crashed machine leaves of a file, or a redirection by mistake."""
    return not body or (body[0] == 0 and not body.strip(b"\0"))


def _keep_emptied(path: str, row: Row, world: World) -> None:
    """An emptied file replaces its object only after a copy of that to the trash, whoever emptied it."""
    try:
        _to_trash(path, row, world)
        world.permit()
    except (NotFound, PreconditionFailed):
        return  # it is not there any more, or somebody else's: the write finds out and keeps that


def _move(task: Task, world: World, digest: bytes, entry: Entry) -> Outcome | None:
    """A renamed file goes up by a server-side copy; None when that is not possible after all."""
    if task.origin is None or task.row is not None or not world.store.facts.copy:
        return None
    source, row = task.origin
    if row.md5 != digest or row.entry.permissions != entry.permissions:
        return None
    world.permit()
    try:
        target = key_of(task.path)
        task.announce(world, row.size, digest)
        info = world.store.copy(key_of(source), target, if_version=row.version, only_if=ABSENT)
    except (NotFound, PreconditionFailed, Unsupported):
        return None
    return Saved(task.path, Row(entry, info.version, row.size, digest), was_sent=True, moved_from=source)


def delete(path: str, row: Row, world: World, *, keeps_trash: bool) -> Outcome:
    """Remove exactly the version that the journal knows, after a copy to the trash."""
    try:
        if _is_there(path, world):
            return Later(path, "it is there again")
        world.permit()
        if keeps_trash and row.entry.kind is not Kind.DIR:
            _to_trash(path, row, world)
        world.permit()
        began_s = world.clock.monotonic()
        world.store.delete(key_of(path), if_version=row.version)
        return Deleted(path, was_slow=world.clock.monotonic() - began_s > PROMPT_S)
    except NotFound:
        return Deleted(path)
    except PreconditionFailed:
        return Foreign(path)
    except Unsupported as error:
        return Unsaveable(path, str(error))
    except OSError as error:
        return Unsaveable(path, f"It cannot be looked at, so it is not deleted in the bucket: {error.strerror}")
    except SyncError as error:
        return Failed(path, error)


def _is_there(path: str, world: World) -> bool:
    """The last look before a delete, past every stale scan."""
    if not path.endswith("/"):
        found = world.files.entry(path)
        return found is not None and found.kind in (Kind.FILE, Kind.LINK)
    found = world.files.entry(path[:-1])
    if found is None or found.kind is not Kind.DIR:
        return False
    return not world.files.scan(path[:-1])


def _to_trash(path: str, row: Row, world: World) -> None:
    store, key = world.store, key_of(path)
    target = trash_key(path, world.clock.now())
    if store.facts.copy:
        store.copy(key, target, if_version=row.version, only_if=ANY)
        return
    if row.size > RELAY_BYTES:
        raise Unsupported("This store cannot copy so large an object to the trash: it stays as it is", where=key)
    relay(world, key, target, row.version, ANY)


def relay(world: World, source: str, target: str, version: str, only_if: Precondition) -> ObjectInfo:
    """A copy through this node, for stores without server-side copies."""
    import io

    body = io.BytesIO()
    info = world.store.get(source, body, if_version=version)
    meta: Mapping[str, str] = info.meta
    return world.store.put(target, body.getvalue(), meta=meta, only_if=only_if)
