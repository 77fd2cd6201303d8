"""Where keys live in a folder that plays the bucket: a plain mirror, plus `.preflight-store/` for the rest.

    <root>/notes/a.ipynb                        the object `notes/a.ipynb`, readable by anybody
    <root>/.preflight-store/lock                held while an object is compared and replaced
    <root>/.preflight-store/tmp/                bodies that are still being written
    <root>/.preflight-store/meta/ab/<h>-<v>     user metadata and MD5 of version <v> of the key with hash <h>
    <root>/.preflight-store/odd/<h>/{key,body}  keys that no file can carry: `a//b`, `..`, `dir/`, `a` beside `a/b`
    <root>/.preflight-store/uploads/<id>/       parts of multipart uploads

A version is derived from the file itself (time, size, inode), so an edit by hand changes it too, and metadata
of a version that is gone is never applied to what replaced it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sync.errors import Denied, DiskFull, Misconfigured, SyncError, Transient, Unsupported

OURS = ".preflight-store"
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 3500  # PATH_MAX is 4096, and the root needs its part
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """One object on disk."""

    key: str
    path: Path
    size: int
    version: str
    modified: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a file itself cannot carry."""

    meta: Mapping[str, str] = field(default_factory=dict)
    md5: bytes | None = None


class Folder:
    """Paths of objects below one root. Not locked: `FileStore` holds the lock where it matters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ours = root / OURS

    def prepare(self) -> None:
        """Create the root and our part of it. Raises Misconfigured when the root cannot be a folder."""
        if self.root.exists() and not self.root.is_dir():
            raise Misconfigured("the store's folder is not a folder", where=str(self.root))
        try:
            for name in ("tmp", "meta", "odd", "uploads"):
                (self.ours / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise classify(error, str(self.root)) from error

    def plain_path(self, key: str) -> Path | None:
        """Where `key` lives as a plain file, or None when no file name can carry it."""
        parts = key.split("/")
        if parts[0] == OURS or len(os.fsencode(key)) > MAX_PATH_BYTES or "\0" in key:
            return None
        if any(part in {"", ".", ".."} or len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
            return None
        return self.root.joinpath(*parts)

    def odd_path(self, key: str) -> Path:
        """Where `key` lives when a plain file cannot carry it."""
        return self.ours / "odd" / _hash(key) / "body"

    def find(self, key: str) -> Found | None:
        """The object as it is now, or None. A folder or a link is not an object."""
        plain = self.plain_path(key)
        for path in (plain, self.odd_path(key)):
            if path is None:
                continue
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise classify(error, key) from error
            if stat.S_ISREG(state.st_mode):
                return _found(key, path, state)
        return None

    def place(self, key: str) -> Path:
        """Where a new version of `key` goes; parents exist afterwards. Call with the lock held.

        Raises Unsupported when a symbolic link in the folder would lead the write out of it.
        """
        plain = self.plain_path(key)
        if plain is not None and self._fits(plain):
            return plain
        odd = self.odd_path(key)
        make_folders(odd.parent)
        if not (odd.parent / "key").exists():
            write_durably(odd.parent / "key", key.encode("utf-8", "surrogatepass"))
        if key.endswith("/") and (folder := self.plain_path(key.rstrip("/"))) is not None:
            self._fits(folder / "x")  # for the eyes of people: an empty directory is a directory
        return odd

    def _fits(self, plain: Path) -> bool:
        try:
            make_folders(plain.parent)
            real = os.path.realpath(plain.parent)
            root = os.path.realpath(self.root)
            if real != root and not real.startswith(root + os.sep):
                raise Unsupported("a link in the store's folder leads out of it", where=str(plain))
            if plain.is_dir() and not plain.is_symlink():
                plain.rmdir()
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}:
                return False
            raise classify(error, str(plain)) from error
        return True

    def sidecar_path(self, key: str, version: str) -> Path:
        """Where the metadata of exactly this version lives."""
        digest = _hash(key)
        return self.ours / "meta" / digest[:2] / f"{digest}-{version}"

    def read_sidecar(self, key: str, version: str) -> Sidecar:
        """Metadata of this version; empty for files that somebody else put here."""
        try:
            raw = json.loads(self.sidecar_path(key, version).read_bytes())
            md5 = bytes.fromhex(raw["md5"])
            return Sidecar({str(name): str(value) for name, value in raw["meta"].items()}, md5)
        except (OSError, ValueError, KeyError, AttributeError):
            return Sidecar()

    def write_sidecar(self, key: str, version: str, sidecar: Sidecar) -> None:
        """Written before its version becomes visible, so no version is ever seen without its metadata."""
        path = self.sidecar_path(key, version)
        path.parent.mkdir(exist_ok=True)
        md5 = sidecar.md5.hex() if sidecar.md5 is not None else ""
        write_durably(path, json.dumps({"meta": dict(sidecar.meta), "md5": md5}).encode())

    def remove(self, found: Found) -> None:
        """Unlink an object, its metadata, and the parents that it leaves empty. Call with the lock held."""
        found.path.unlink(missing_ok=True)
        self.sidecar_path(found.key, found.version).unlink(missing_ok=True)
        if found.path.name == "body" and found.path.parent.parent == self.ours / "odd":
            (found.path.parent / "key").unlink(missing_ok=True)
            self._prune(found.path.parent)
            if found.key.endswith("/") and (folder := self.plain_path(found.key.rstrip("/"))) is not None:
                self._prune(folder)
        else:
            sync_folder(found.path.parent)
            self._prune(found.path.parent)

    def _prune(self, folder: Path) -> None:
        keep = {self.root, self.ours, self.ours / "odd"}
        while folder not in keep and self.root in folder.parents:
            marker = folder.relative_to(self.root).as_posix() + "/"
            if self.odd_path(marker).exists():
                return
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def walk(self, prefix: str) -> Iterator[Found]:
        """Every object whose key starts with `prefix`, in the order of their UTF-8 bytes.

        Raises Denied when a folder cannot be read: a partial listing is no listing.
        """
        odd = sorted(self._odd(prefix), key=_order)
        position = 0
        for found in self._walk_plain(prefix):
            while position < len(odd) and _order(odd[position]) < _order(found):
                yield odd[position]
                position += 1
            if position < len(odd) and odd[position].key == found.key:
                position += 1  # a plain file wins
            yield found
        yield from odd[position:]

    def _odd(self, prefix: str) -> Iterator[Found]:
        try:
            names = os.listdir(self.ours / "odd")
        except FileNotFoundError:
            return
        except OSError as error:
            raise classify(error, str(self.ours)) from error
        for name in names:
            try:
                key = (self.ours / "odd" / name / "key").read_bytes().decode("utf-8", "surrogatepass")
                state = (self.ours / "odd" / name / "body").lstat()
            except FileNotFoundError:
                continue  # removed meanwhile, or a put that never came to its end
            except (OSError, UnicodeDecodeError) as error:
                raise Denied("an object's name cannot be read", where=name) from error
            if key.startswith(prefix):
                yield _found(key, self.odd_path(key), state)

    def _walk_plain(self, prefix: str) -> Iterator[Found]:
        above, _, _ = prefix.rpartition("/")
        start = self.root if not above else self.plain_path(above)
        if start is None or os.path.realpath(start) != os.path.join(os.path.realpath(self.root), above).rstrip("/"):
            return
        pending: list[Iterator[tuple[str, os.DirEntry[str]]]] = [self._entries(start, f"{above}/" if above else "")]
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
                continue
            key, entry = step
            is_folder = entry.is_dir(follow_symlinks=False)
            if not (key.startswith(prefix) or (is_folder and prefix.startswith(key + "/"))):
                continue
            if is_folder:
                pending.append(self._entries(Path(entry.path), key + "/"))
                continue
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise classify(error, key) from error
            if stat.S_ISREG(state.st_mode):
                yield _found(key, Path(entry.path), state)
            else:
                log.warning("the store's folder holds something that is not a file", extra={"key": key})

    def _entries(self, folder: Path, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if above or entry.name != OURS]
        except (FileNotFoundError, NotADirectoryError):
            return iter(())
        except OSError as error:
            raise classify(error, above) from error
        entries.sort(key=lambda entry: os.fsencode(entry.name) + (b"/" if entry.is_dir(follow_symlinks=False) else b""))
        return iter([(above + entry.name, entry) for entry in entries])


def version_of(state: os.stat_result) -> str:
    """The version of a file in this state: it changes with every replacement and every edit."""
    return f"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}"


def make_folders(folder: Path) -> None:
    """`mkdir -p`, with every new name on disk when it returns."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", str(folder)) from None
        return
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """A small file of ours, whole or not at all."""
    temp = path.with_name(path.name + ".new")
    with open(temp, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, path)


def classify(error: OSError, where: str) -> SyncError:
    """What an operating-system error means to the engine."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull("the store's disk has no room", where=where)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Denied("the store's folder refuses", where=where, hint="check its owner and permissions")
        case errno.ENAMETOOLONG | errno.EINVAL:
            return Unsupported("the store's file system cannot carry this name", where=where)
        case errno.ENOTDIR | errno.ENOENT:
            return Misconfigured("the store's folder is gone or not a folder", where=where)
        case _:
            return Transient(f"the store's disk failed: {error.strerror or 'unknown error'}", where=where)


def _found(key: str, path: Path, state: os.stat_result) -> Found:
    return Found(key, path, state.st_size, version_of(state), state.st_mtime_ns / 1e9)


def _order(found: Found) -> bytes:
    return os.fsencode(found.key)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]
