"""From the bucket to the folder, one path at a time: a private file, verified, then a rename. Runs in workers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sync.disk import classified
from sync.errors import Corrupt, NotFound, PreconditionFailed, SyncError, Unstable
from sync.files import Reading
from sync.looks import FILE_MODE, FOLDER_MODE, mode_of, mtime_of, same_looks, worn
from sync.names import conflict_path, key_of
from sync.ranges import fetch_large
from sync.same import md5_of
from sync.settle import SMALL_BYTES
from sync.stores import ObjectInfo, Read
from sync.stores.together import get_many
from sync.tree import Entry, Kind, Remote, Row, smudge
from sync.twins import is_long_ago, twin_of
from sync.work import Copy, Failed, Fetched, Later, Outcome, Placed, Saved, Unsaveable, Vanished, World

T = TypeVar("T")
TICK_S = 0.05  # files are stamped with the time of the kernel's last tick
LARGE_BYTES = SMALL_BYTES  # above it in ranges, so that a kill costs one part; below it through memory


def temp_name(path: str, version: str) -> str:
    """The private name of one version of one path: the same in every life, so that a large one is resumed."""
    return "get-" + hashlib.blake2b(f"{key_of(path)}\0{version}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object that is to come here. `merges`: the local file may be the same; then nothing is fetched.

    `key`: where it lies, when that is not the path's own key. `row`: what the journal last knew of the path.
    """

    path: str
    remote: Remote
    expect: Entry | None
    merges: bool = False
    key: str = ""
    row: Row | None = None

    @property
    def where(self) -> str:
        """The object's key."""
        return self.key or key_of(self.path)

    @property
    def temp(self) -> str:
        """The name of the private file that it is fetched into."""
        return temp_name(self.path, self.remote.version)


def fetch(wanted: Wanted, world: World) -> Outcome:
    """Fetch one object beside the folder."""
    ((_, outcome),) = fetch_together([wanted], world)
    return outcome


def fetch_together(several: Sequence[Wanted], world: World) -> Iterator[tuple[int, Outcome]]:
    """The same for several small objects: number and outcome of each, in the order of the answers."""
    asked: list[int] = []
    for number, wanted in enumerate(several):
        outcome = _guarded(wanted, partial(_before, wanted, world))
        if outcome is None:
            asked.append(number)
        else:
            yield number, outcome
    reads = [Read(several[number].where, several[number].remote.version or None) for number in asked]
    for place, result in get_many(world.store, reads):
        wanted = several[asked[place]]
        yield asked[place], _guarded(wanted, partial(_arrived, wanted, result, world))


def _guarded(wanted: Wanted, act: Callable[[], T]) -> T | Outcome:
    """What `act` answers or raises, as an outcome."""
    path = wanted.path
    try:
        return act()
    except (NotFound, PreconditionFailed):
        return Later(path, "the object changed since it was listed")
    except Unstable as error:
        return Later(path, str(error))
    except FileNotFoundError:
        return Later(path, "the file went away")
    except NotADirectoryError:
        return Unsaveable(path, "A file or a link is where this needs a folder; it stays in the bucket")
    except OSError as error:
        known = classified(error, path)
        return Failed(path, known) if known else Unsaveable(path, f"It cannot be written here: {error.strerror}")
    except SyncError as error:
        return Failed(path, error)


def _before(wanted: Wanted, world: World) -> Outcome | None:
    """The outcome, where no small body is to be fetched for it."""
    path, remote, expect = wanted.path, wanted.remote, wanted.expect
    if path.endswith("/"):
        return _folder(path, remote, world)
    if wanted.merges and expect is not None and expect.kind is Kind.FILE:
        same = _adopt(path, remote, wanted.row, world)
        if same is not None:
            return same
    if remote.size > LARGE_BYTES:
        return _kept(wanted, *fetch_large(wanted.where, remote, wanted.temp, world), world)
    return None


def _arrived(wanted: Wanted, result: tuple[ObjectInfo, bytes] | SyncError, world: World) -> Outcome:
    """A body in memory becomes a private file."""
    if isinstance(result, SyncError):
        raise result
    info, content = result
    digest = hashlib.md5(content).digest()
    stated = md5_of(world.store, wanted.where, info)
    if len(content) != info.size or (stated is not None and stated != digest):
        raise Corrupt("The object arrived damaged", where=wanted.where)
    with world.files.temp(wanted.temp) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
    return _kept(wanted, info, digest, world)


def _kept(wanted: Wanted, info: ObjectInfo, digest: bytes, world: World) -> Outcome:
    """What becomes of a private file that is whole."""
    path, expect = wanted.path, wanted.expect
    if wanted.merges and expect is not None:
        if (link := _same_link(path, expect, info, digest, world)) is not None:
            world.files.discard(wanted.temp)
            return link
        if expect.kind is Kind.FILE and wanted.remote.md5 is None:
            # No server told the content before (a file put there by hand, a multipart object): now it is known.
            arrived = Remote(info.size, info.version, info.modified, digest)
            if (same := _adopt(path, arrived, wanted.row, world)) is not None:
                world.files.discard(wanted.temp)
                return same
    return Fetched(
        path,
        wanted.temp,
        Remote(info.size, info.version, info.modified, digest),
        mtime_of(info),
        mode_of(info, FILE_MODE),
        info.meta.get("symlink") == "1",
        expect,
        displaces=wanted.merges,
        md5=digest,
    )


def _folder(path: str, remote: Remote, world: World) -> Outcome:
    info = world.store.head(key_of(path)) if remote.version else None
    mode = mode_of(info, FOLDER_MODE) if info is not None else FOLDER_MODE
    entry = world.files.make_folder(path[:-1], mode=mode)
    return Saved(path, Row(entry, remote.version, 0, hashlib.md5(b"").digest()), was_sent=False)


def _adopt(path: str, remote: Remote, row: Row | None, world: World) -> Saved | None:
    """The local file, if its content is the object's: nothing needs to be moved for it, but mode and time may differ.

    What was changed here since the journal saw it, or while this process lives, is pushed; else the bucket's count.
    """
    key = key_of(path)
    with world.files.open(path) as reading:
        here = reading.entry
        if here.size != remote.size:
            return None
        digest = digest_of(reading)
        if remote.md5 is not None and remote.md5 != digest:
            return None
        info = world.store.head(key)
        if remote.version and info.version != remote.version:
            raise PreconditionFailed("The object changed since it was listed", where=key)
        if remote.md5 is None and md5_of(world.store, key, info) != digest:
            return None
        if info.meta.get("symlink") == "1":
            return None
        reading.check()
        is_racy = reading.is_racy()
    there = worn(here, info)
    if same_looks(there, here):
        return Saved(path, Row(here, remote.version, remote.size, digest), was_sent=False, is_racy=is_racy)
    is_ours = row is not None and not same_looks(row.entry, here)
    if not is_ours and here.ctime_ns < int((world.born_at - TICK_S) * 1e9):
        with contextlib.suppress(PermissionError):  # somebody else's file: then it is as it is here
            there = world.files.dress(path, mtime_ns=there.mtime_ns, mode=there.permissions, expect=here)
    # The stamp matches nothing: the next scan has the file read again, and sends its looks where they differ.
    return Saved(path, Row(smudge(there), remote.version, remote.size, digest), was_sent=False, is_racy=True)


def _same_link(path: str, expect: Entry, info: ObjectInfo, digest: bytes, world: World) -> Saved | None:
    """The local link, if it says what the object says."""
    if expect.kind is not Kind.LINK or info.meta.get("symlink") != "1":
        return None
    if hashlib.md5(os.fsencode(world.files.target(path))).digest() != digest:
        return None
    return Saved(path, Row(expect, info.version, info.size, digest), was_sent=False)


def digest_of(reading: Reading) -> bytes:
    """The MD5 of an open file that holds still."""
    digest = hashlib.md5()
    at = 0
    while at < reading.entry.size:
        piece = reading.read_at(at, min(SMALL_BYTES, reading.entry.size - at))
        digest.update(piece)
        at += len(piece)
    reading.check()
    return digest.digest()


def place(batch: Sequence[Fetched], world: World) -> Placed:
    """Give a batch of fetched files their places: durable first, renamed then."""
    rows: list[tuple[str, Row]] = []
    copies: list[Copy] = []
    later: list[str] = []
    unusable: list[tuple[str, str]] = []
    try:
        world.files.settle([item.temp for item in batch])
        for item in batch:
            try:
                rows.append((item.path, _place(item, world, copies)))
            except (Unstable, FileNotFoundError):
                later.append(item.path)
                world.files.discard(item.temp)
            except OSError as error:
                known = classified(error, item.path)
                if known:
                    return Placed(tuple(rows), tuple(copies), tuple(later), tuple(unusable), known)
                unusable.append((item.path, _why_not(error)))
                world.files.discard(item.temp)
    except OSError as error:
        return Placed(tuple(rows), tuple(copies), error=classified(error, "") or Failed_of(error))
    return Placed(tuple(rows), tuple(copies), tuple(later), tuple(unusable))


def Failed_of(error: OSError) -> SyncError:  # noqa: N802
    """A local failure that is no single path's."""
    return SyncError(f"The folder cannot be written: {error.strerror}")


def _why_not(error: OSError) -> str:
    if isinstance(error, NotADirectoryError):
        return "A file or a link is where this needs a folder; it stays in the bucket"
    if isinstance(error, IsADirectoryError):
        return "A folder has this name here; the object stays in the bucket"
    return f"It cannot be written here: {error.strerror}"


def _place(item: Fetched, world: World, copies: list[Copy]) -> Row:
    expect = item.expect
    if item.displaces and expect is not None:
        copies.append(_move_aside(item, world))
        expect = None
    if item.is_link:
        with world.files.temp(item.temp, keep=True) as file:
            target = file.read()
        world.files.discard(item.temp)
        entry = world.files.make_link(item.path, os.fsdecode(target), expect=expect)
    else:
        entry = world.files.publish(
            item.temp, item.path, mtime_ns=item.mtime_ns or 0, mode=item.mode or FILE_MODE, expect=expect
        )
    return Row(entry, item.remote.version, item.remote.size, item.md5)


def _move_aside(item: Fetched, world: World) -> Copy:
    """The local content keeps living beside the bucket's; the next scan saves it under its new name."""
    now = world.files.entry(item.path)
    if now is None or item.expect is None or now[:5] != item.expect[:5]:
        raise Unstable("The file changed meanwhile", where=item.path)
    twin = world.files.entry(twin_of(item.path))
    if twin is not None and not is_long_ago(max(twin.ctime_ns, now.ctime_ns), world):
        raise Unstable("JupyterLab is saving it", where=item.path)
    for attempt in range(10):
        copy = conflict_path(item.path, world.machine, now.mtime_ns / 1e9, attempt)
        if world.files.entry(copy) is None:
            world.files.move(item.path, copy)
            return Copy(item.path, copy, world.clock.now(), None)
    raise Unstable("No free name for the conflict copy", where=item.path)


def bring(path: str, info: ObjectInfo, world: World, *, key: str = "") -> Row | None:
    """One object made a local file right away; None if something is in the way (a restore brings it then).

    `key`: where it lies, when that is not the path's own key.
    """
    got = fetch(Wanted(path, Remote(info.size, info.version, info.modified, info.md5), None, key=key), world)
    if not isinstance(got, Fetched):
        return None
    done = place([got], world)
    return done.rows[0][1] if done.rows else None


__all__ = ["Vanished", "Wanted", "bring", "fetch", "fetch_together", "place"]
