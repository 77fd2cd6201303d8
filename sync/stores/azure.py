"""Azure Blob by container URL and SAS: the vendor's SDK writes and controls, obstore reads.

Writes go through the SDK because it sends Content-MD5 and the service refuses other bytes; obstore sends none to
Azure. There are no upload ids: a large blob's blocks wait uncommitted at its name (for a week) until the list of
them is committed, so an upload id here is a random mark inside the block names, plus the metadata for the end.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, BlobClient

from sync.clock import Clock, SystemClock
from sync.errors import Corrupt, NotFound, PreconditionFailed, Transient, Unsupported
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition
from sync.stores.azure_container import AzureContainer
from sync.stores.body import opened, size_of
from sync.stores.carrier import CHUNK_BYTES, fits_obstore, user_meta
from sync.stores.config import StoreConfig
from sync.stores.network import Timeouts, quoted

ONE_REQUEST_BYTES = 64 * 1024 * 1024  # larger bodies are sent by the SDK as blocks and committed at once
SYNC_COPY_BYTES = 256 * 1024 * 1024  # larger copies run on the server after the answer
COPY_WAIT_S = 120.0


class AzureStore(AzureContainer):
    """One container (or a folder in it)."""

    page_keys = 5000  # what one listing request asks for, and the most that the service gives

    def __init__(
        self,
        config: StoreConfig,
        *,
        meter: Meter | None = None,
        times: Timeouts | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(config, meter=meter, times=times)
        self._clock = clock or SystemClock()
        self._aborted: set[str] = set()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        above = self._above + prefix
        with self._asking("list", prefix, count=False):
            pages = self._container.list_blobs(
                name_starts_with=above or None, include=["metadata"], results_per_page=self.page_keys
            ).by_page()
        while True:
            with self._asking("list", prefix):
                page = next(pages, None)
                blobs = list(page) if page is not None else []
            if page is None:
                return
            for blob in blobs:
                meta = {name.lower(): value for name, value in (blob.metadata or {}).items()}
                if meta.get("hdi_isfolder") == "true" or blob.name == self._above:
                    continue  # a directory of an account with hierarchical names
                key = blob.name[len(self._above) :]
                yield ObjectInfo(key, blob.size, quoted(blob.etag), blob.last_modified.timestamp(), meta, _md5(blob))

    def head(self, key: str) -> ObjectInfo:
        with self._asking("head", key):
            blob = self._blob(key).get_blob_properties()
        meta = {name.lower(): value for name, value in (blob.metadata or {}).items()}
        return ObjectInfo(key, blob.size, quoted(blob.etag), blob.last_modified.timestamp(), meta, _md5(blob))

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        received = 0
        if fits_obstore(self._full(key)):
            options: Any = {"if_match": if_version} if if_version is not None else None
            with self._asking("get", key):
                answer = obstore.get(self._reading, self._full(key), options=options)
                stated = answer.meta
                info = ObjectInfo(
                    key,
                    stated["size"],
                    quoted(stated["e_tag"] or ""),
                    stated["last_modified"].timestamp(),
                    user_meta(answer.attributes),
                )
                for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
                    into.write(chunk)
                    received += len(chunk)
        else:
            info = self.head(key)
            with self._asking("get", key):
                stream = self._blob(key).download_blob(**_match(info.version))
                received = stream.readinto(into)
            if if_version is not None and info.version != if_version:
                raise PreconditionFailed("the object is not the version that was named", where=key)
        self.meter.add_bytes(received=received)
        if received != info.size:
            raise Corrupt(f"the body ended after {received} of {info.size} bytes", where=key)
        return info

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        if length <= 0:
            return b""
        try:
            with self._asking("get", key):
                if fits_obstore(self._full(key)):
                    options: Any = {"range": (start, start + length)}
                    if if_version is not None:
                        options["if_match"] = if_version
                    content = bytes(obstore.get(self._reading, self._full(key), options=options).bytes())
                else:
                    match = _match(if_version) if if_version is not None else {}
                    content = self._blob(key).download_blob(offset=start, length=length, **match).readall()
        except Unsupported as error:
            if "416" in str(error) or "InvalidRange" in str(error):
                return b""
            raise
        self.meter.add_bytes(received=len(content))
        return content

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        blob = self._blob_for_writing(key)
        size = size_of(body)
        with self._asking("put", key), opened(body) if isinstance(body, Path) else nullcontext(body) as source:
            answer = blob.upload_blob(
                source, length=size, metadata=dict(meta), validate_content=True, **_condition(only_if)
            )
        self.meter.add_bytes(sent=size)
        md5 = answer.get("content_md5") if size <= ONE_REQUEST_BYTES else None
        return ObjectInfo(
            key,
            size,
            quoted(answer["etag"]),
            answer["last_modified"].timestamp(),
            dict(meta),
            bytes(md5) if md5 else None,
        )

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        origin = self.head(source)
        if if_version is not None and origin.version != if_version:
            raise PreconditionFailed("the object is not the version that was named", where=source)
        blob = self._blob_for_writing(target)
        wanted: dict[str, Any] = {
            "source_etag": origin.version,
            "source_match_condition": MatchConditions.IfNotModified,
            **_condition(only_if, copy=True),
        }
        if origin.size <= SYNC_COPY_BYTES:
            wanted["requires_sync"] = True
        with self._asking("copy", source):
            answer = blob.start_copy_from_url(self._blob(source).url, **wanted)
        deadline = self._clock.monotonic() + COPY_WAIT_S
        while answer.get("copy_status") == "pending":
            if self._clock.monotonic() > deadline:
                raise Transient("the server is still copying", where=target)
            self._clock.sleep(0.5)
            with self._asking("head", target):
                copying = blob.get_blob_properties()
            if copying.copy.status not in {"pending", "success"}:
                raise Transient("the server gave the copy up", where=target)
            answer = {"copy_status": copying.copy.status}
        return self.head(target)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        match = _match(if_version) if if_version is not None else {}
        try:
            with self._asking("delete", key):
                self._blob(key).delete_blob(**match)
        except NotFound:
            return
        except PreconditionFailed:
            try:  # Azure answers 412 for a blob that is not there at all, which is no error of ours
                self.head(key)
            except NotFound:
                return
            raise

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        self._blob_for_writing(key)
        carried = base64.urlsafe_b64encode(json.dumps(dict(meta)).encode()).decode()
        return f"{secrets.token_hex(8)}.{carried}"

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        with self._asking("part", key):
            self._blob(key).stage_block(_block_id(upload, number), body, length=len(body), validate_content=True)
        self.meter.add_bytes(sent=len(body))
        return Part(number, _block_id(upload, number), len(body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        mark = upload.partition(".")[0]
        blocks: Sequence[Any] = ()
        if mark not in self._aborted:
            with self._asking("list_parts", key):
                _, blocks = self._blob(key).get_block_list("uncommitted")
        parts = []
        for block in blocks:
            name = base64.b64decode(block.id).decode("ascii", "replace")
            if name.startswith(mark + "-"):
                number = int(name.rpartition("-")[2])
                parts.append(Part(number, _block_id(upload, number), block.size))
        if not parts:
            raise NotFound("no such upload", where=key)
        return tuple(sorted(parts, key=lambda part: part.number))

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        meta = json.loads(base64.urlsafe_b64decode(upload.partition(".")[2]))
        blocks = [BlobBlock(_block_id(upload, part.number)) for part in parts]
        with self._asking("finish", key):
            answer = self._blob(key).commit_block_list(blocks, metadata=meta, **_condition(only_if, commit=True))
        size = sum(part.size for part in parts)
        return ObjectInfo(key, size, quoted(answer["etag"]), answer["last_modified"].timestamp(), meta)

    def abort_upload(self, key: str, upload: str) -> None:
        """Blocks cannot be withdrawn; the service forgets them after a week, or at the next write of the blob."""
        self._aborted.add(upload.partition(".")[0])

    def _blob(self, key: str) -> BlobClient:
        return self._container.get_blob_client(self._full(key))

    def _blob_for_writing(self, key: str) -> BlobClient:
        return self._container.get_blob_client(self._full_for_writing(key))


def _match(version: str) -> dict[str, Any]:
    return {"etag": version, "match_condition": MatchConditions.IfNotModified}


def _condition(only_if: Precondition, *, copy: bool = False, commit: bool = False) -> dict[str, Any]:
    if only_if.if_version is not None:
        return {"overwrite": True, **_match(only_if.if_version)} if not (copy or commit) else _match(only_if.if_version)
    if only_if.if_absent:
        if copy or commit:
            return {"match_condition": MatchConditions.IfMissing}
        return {"overwrite": False}
    return {} if copy or commit else {"overwrite": True}


def _block_id(upload: str, number: int) -> str:
    return base64.b64encode(f"{upload.partition('.')[0]}-{number:05d}".encode()).decode()


def _md5(blob: Any) -> bytes | None:
    stated = blob.content_settings.content_md5 if blob.content_settings is not None else None
    return bytes(stated) if stated else None
