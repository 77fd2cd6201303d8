"""A folder as a bucket: for `make up` without a cloud account, for mounted disks, and for fast tests.

It keeps every promise of the contract by the operating system: a body becomes visible by one rename after fsync,
and preconditions are compared under a lock that all processes share. Layout: see `folder.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sync.clock import Clock, SystemClock
from sync.errors import Corrupt, NotFound, PreconditionFailed, Transient, Unsupported
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, StoreFacts, Writes
from sync.stores.body import opened
from sync.stores.config import file_config
from sync.stores.folder import Folder, Found, Sidecar, classify, sync_folder, version_of, write_durably

CHUNK_BYTES = 1024 * 1024
LOCK_WAIT_S = 30.0  # the lock covers one compare and one rename; longer means that its holder is stopped


class FileStore:
    """Objects as plain files below `root`."""

    def __init__(self, root: Path, *, meter: Meter | None = None, clock: Clock | None = None) -> None:
        self.facts = StoreFacts(provider="file", writes=Writes.FULL, max_put_bytes=1 << 62)
        self.meter = meter or Meter()
        self.url = file_config(root).url
        self._clock = clock or SystemClock()
        self._folder = Folder(root)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.meter.count("list")
        for found in self._folder.walk(prefix):
            yield ObjectInfo(found.key, found.size, found.version, found.modified)

    def head(self, key: str) -> ObjectInfo:
        self.meter.count("head")
        return self._info(self._existing(key))

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        digest = hashlib.md5(usedforsecurity=False)
        with self._reading(key, if_version) as (found, file):
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                into.write(chunk)
            info = self._info(found)
            if version_of(os.fstat(file.fileno())) != found.version:
                raise Transient("somebody edited the object while it was read", where=key)
        self.meter.count("get", received=info.size)
        if info.md5 is not None and info.md5 != digest.digest():
            raise Corrupt("the object's content is not what was stored", where=key)
        return info

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        with self._reading(key, if_version) as (_, file):
            file.seek(start)
            content = file.read(length)
        self.meter.count("get", received=len(content))
        return content

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        self._folder.prepare()
        temp = self._temp()
        try:
            if isinstance(body, Path):
                with opened(body) as source:
                    md5 = self._fill(temp, [source])
            else:
                md5 = self._fill(temp, [body])
            info = self._publish(key, temp, Sidecar(dict(meta), md5), only_if)
        finally:
            temp.unlink(missing_ok=True)
        self.meter.count("put", sent=info.size)
        return info

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        self.meter.count("copy")
        self._folder.prepare()
        temp = self._temp()
        try:
            with self._reading(source, if_version) as (found, file):
                md5 = self._fill(temp, [file])
                meta = self._info(found).meta
            return self._publish(target, temp, Sidecar(meta, md5), only_if)
        finally:
            temp.unlink(missing_ok=True)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        self.meter.count("delete")
        if not self._folder.ours.is_dir() and self._folder.find(key) is None:
            return
        self._folder.prepare()
        with self._locked():
            found = self._folder.find(key)
            if found is None:
                return
            self._compare(key, found, Precondition(if_version=if_version))
            try:
                self._folder.remove(found)
            except OSError as error:
                raise classify(error, key) from error

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        self.meter.count("start")
        self._folder.prepare()
        upload = secrets.token_hex(16)
        folder = self._upload_folder(upload)
        folder.mkdir()
        write_durably(folder / "meta", json.dumps({"key": key, "meta": dict(meta)}).encode())
        return upload

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        self.meter.count("part", sent=len(body))
        folder = self._uploading(key, upload)
        version = hashlib.md5(body, usedforsecurity=False).hexdigest()
        try:
            write_durably(folder / f"{number:05d}-{version}", body)
        except OSError as error:
            raise classify(error, key) from error
        return Part(number, version, len(body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        self.meter.count("list_parts")
        folder = self._uploading(key, upload)
        names = sorted(path for path in folder.iterdir() if path.name != "meta" and path.suffix != ".new")
        latest = {int(path.name[:5]): Part(int(path.name[:5]), path.name[6:], path.stat().st_size) for path in names}
        return tuple(latest.values())

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        self.meter.count("finish")
        folder = self._uploading(key, upload)
        meta = json.loads((folder / "meta").read_bytes())["meta"]
        temp = self._temp()
        try:
            md5 = self._fill(temp, [folder / f"{part.number:05d}-{part.version}" for part in parts])
            info = self._publish(key, temp, Sidecar(meta, md5), only_if)
        finally:
            temp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return info

    def abort_upload(self, key: str, upload: str) -> None:
        self.meter.count("abort")
        if _is_upload_id(upload):
            shutil.rmtree(self._upload_folder(upload), ignore_errors=True)

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _upload_folder(self, upload: str) -> Path:
        return self._folder.ours / "uploads" / upload

    def _uploading(self, key: str, upload: str) -> Path:
        folder = self._upload_folder(upload)
        if not _is_upload_id(upload) or not (folder / "meta").exists():
            raise NotFound("no such upload", where=key)
        return folder

    def _temp(self) -> Path:
        return self._folder.ours / "tmp" / secrets.token_hex(16)

    def _fill(self, temp: Path, sources: Sequence[bytes | BinaryIO | Path]) -> bytes:
        """Write all sources into `temp`, on disk when this returns; the MD5 of the whole."""
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with open(temp, "xb") as file:
                for source in sources:
                    if isinstance(source, bytes):
                        digest.update(source)
                        file.write(source)
                    elif isinstance(source, Path):
                        with open(source, "rb") as part:
                            _pour(part, file, digest.update)
                    else:
                        _pour(source, file, digest.update)
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError as error:
            raise NotFound("a part of the upload is missing", where=str(error.filename)) from error
        except OSError as error:
            raise classify(error, str(temp)) from error
        return digest.digest()

    def _publish(self, key: str, temp: Path, sidecar: Sidecar, only_if: Precondition) -> ObjectInfo:
        with self._locked():
            before = self._folder.find(key)
            self._compare(key, before, only_if)
            try:
                target = self._folder.place(key)
                # Kernel time has a granularity of milliseconds: two puts must never look like one version.
                now_ns = int(self._clock.now() * 1e9)
                old_ns = before.path.stat().st_mtime_ns if before is not None else 0
                os.utime(temp, ns=(now_ns, max(now_ns, old_ns + 1)))
                version = version_of(temp.stat())
                self._folder.write_sidecar(key, version, sidecar)
                os.replace(temp, target)
                sync_folder(target.parent)
                if before is not None:
                    if before.path != target:
                        self._folder.remove(before)
                    self._folder.sidecar_path(key, before.version).unlink(missing_ok=True)
            except OSError as error:
                raise classify(error, key) from error
            found = self._folder.find(key)
        if found is None or found.version != version:
            raise Unsupported("the store's folder does not keep what is written into it", where=key)
        return self._info(found)

    def _compare(self, key: str, found: Found | None, only_if: Precondition) -> None:
        if only_if.if_absent and found is not None:
            raise PreconditionFailed("the object exists already", where=key)
        if only_if.if_version is not None and (found is None or found.version != only_if.if_version):
            raise PreconditionFailed("the object is not the version that was named", where=key)

    def _existing(self, key: str) -> Found:
        found = self._folder.find(key)
        if found is None:
            raise NotFound("no such object", where=key)
        return found

    def _info(self, found: Found) -> ObjectInfo:
        sidecar = self._folder.read_sidecar(found.key, found.version)
        return ObjectInfo(found.key, found.size, found.version, found.modified, sidecar.meta, sidecar.md5)

    @contextmanager
    def _reading(self, key: str, if_version: str | None) -> Iterator[tuple[Found, BinaryIO]]:
        found = self._existing(key)
        try:
            file = found.path.open("rb")
        except FileNotFoundError as error:
            raise NotFound("no such object", where=key) from error
        except OSError as error:
            raise classify(error, key) from error
        with file:
            state = os.fstat(file.fileno())  # of what was opened: it may have been replaced since `found`
            opened = Found(key, found.path, state.st_size, version_of(state), state.st_mtime_ns / 1e9)
            self._compare(key, opened, Precondition(if_version=if_version))
            try:
                yield opened, file
            except OSError as error:
                if error.filename in {None, str(found.path)}:
                    raise classify(error, key) from error
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder.ours / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            deadline = self._clock.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._clock.monotonic() > deadline:
                        raise Transient("another process holds the store's lock", where=self.url) from None
                    self._clock.sleep(0.002)
            yield
        finally:
            os.close(descriptor)


def _pour(source: BinaryIO, target: BinaryIO, see: Callable[[bytes], None]) -> None:
    while chunk := source.read(CHUNK_BYTES):
        see(chunk)
        target.write(chunk)


def _is_upload_id(upload: str) -> bool:
    return len(upload) == 32 and all(char in "0123456789abcdef" for char in upload)
