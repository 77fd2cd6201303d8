"""Google Cloud Storage over its JSON API: every write and delete compares a generation.

The vendor's client carries everything: its resumable uploads are sequential, so a large file's parts are objects of
their own under `.preflight/uploads/` and are composed into one at the end (at most 32 at a time, so in steps).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from sync.errors import Corrupt, Denied, NotFound, PreconditionFailed, Unsupported
from sync.stores import ANY, Meter, ObjectInfo, Part, Precondition, StoreFacts, Writes
from sync.stores.body import opened, size_of
from sync.stores.config import StoreConfig
from sync.stores.gcs_bucket import GcsBucket
from sync.stores.network import Timeouts

UPLOADS = ".preflight/uploads/"
COMPOSE_MAX = 32
MARK = "preflight-upload"  # in the metadata of a composed object: which upload made it


class GcsStore(GcsBucket):
    """One bucket prefix."""

    page_keys = 1000  # what one listing request asks for

    def __init__(self, config: StoreConfig, *, meter: Meter | None = None, times: Timeouts | None = None) -> None:
        super().__init__(config, meter=meter, times=times)
        self.facts = StoreFacts(provider="gcs", writes=Writes.FULL)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        hidden = not prefix.startswith(UPLOADS)
        with self._asking("list", prefix, count=False):
            pages = self._client.list_blobs(
                self._bucket, prefix=self._above + prefix, page_size=self.page_keys, fields=FIELDS, **self._call
            ).pages
        while True:
            with self._asking("list", prefix):
                page = next(pages, None)
                blobs = list(page) if page is not None else []
            if page is None:
                return
            for blob in blobs:
                key = blob.name[len(self._above) :]
                if key and not (hidden and key.startswith(UPLOADS)):
                    yield _info(key, blob)

    def head(self, key: str) -> ObjectInfo:
        blob = self._blob(key)
        with self._asking("head", key):
            blob.reload(**self._call)
        return _info(key, blob)

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        blob = self._blob(key)
        digest = hashlib.md5(usedforsecurity=False)
        received = 0
        # One request for bytes and metadata; raw: a gzip content-encoding is stored bytes, not a wish.
        with self._asking("get", key), self._media(blob, if_version) as answer:
            info = _info_of_headers(key, answer.headers)
            for chunk in answer.raw.stream(1024 * 1024, decode_content=False):
                received += len(chunk)
                digest.update(chunk)
                into.write(chunk)
        self.meter.add_bytes(received=received)
        if received != info.size:
            raise Corrupt(f"the body ended after {received} of {info.size} bytes", where=key)
        if info.md5 is not None and info.md5 != digest.digest():
            raise Corrupt("the body is not what the server says it holds", where=key)
        return info

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        if length <= 0:
            return b""
        try:
            with self._asking("get", key), self._media(self._blob(key), if_version, (start, start + length)) as answer:
                content: bytes = answer.raw.read(decode_content=False)
        except Unsupported as error:
            if "416" in str(error):
                return b""
            raise
        self.meter.add_bytes(received=len(content))
        return content

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        blob = self._blob(key)
        blob.metadata = dict(meta)
        size = size_of(body)
        with self._asking("put", key, if_version=only_if.if_version):
            wanted: dict[str, Any] = {"checksum": "md5", **_condition(only_if), **self._call}
            if isinstance(body, bytes):
                blob.upload_from_string(body, content_type="application/octet-stream", **wanted)
            else:
                with opened(body) as file:
                    blob.upload_from_file(file, size=size, content_type="application/octet-stream", **wanted)
        self.meter.add_bytes(sent=size)
        return _info(key, blob)

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        origin, blob = self._blob(source), self._blob(target)
        wanted: dict[str, Any] = {**_condition(only_if), **self._call}
        if if_version is not None:
            wanted["if_source_generation_match"] = int(if_version)
        token: str | None = None
        while True:  # a rewrite of a very large object takes several requests
            with self._asking("copy", source, if_version=if_version, gone=False):
                token, _, _ = blob.rewrite(origin, token=token, **wanted)
            if token is None:
                return self.head(target)

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        wanted: dict[str, Any] = dict(self._call)
        if if_version is not None:
            wanted["if_generation_match"] = _generation(if_version)
        try:
            with self._asking("delete", key):
                self._blob(key).delete(**wanted)
        except NotFound:
            return
        except PreconditionFailed:
            try:
                self.head(key)
            except NotFound:
                return
            raise

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        self._full(key)
        upload = secrets.token_hex(16)
        self.put(f"{UPLOADS}{upload}/meta", json.dumps({"key": key, "meta": dict(meta)}).encode(), meta={})
        return upload

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        info = self.put(f"{UPLOADS}{upload}/{number:05d}", body, meta={})
        return Part(number, info.version, len(body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        infos = {info.key.rpartition("/")[2]: info for info in self.list(f"{UPLOADS}{upload}/")}
        if "meta" not in infos:
            raise NotFound("no such upload", where=key)
        return tuple(Part(int(name), info.version, info.size) for name, info in sorted(infos.items()) if name.isdigit())

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        meta = self._upload_meta(key, upload)
        names = [f"{UPLOADS}{upload}/{part.number:05d}" for part in parts]
        generations: list[int | None] = [int(part.version) for part in parts]
        step = 0
        while len(names) > COMPOSE_MAX:
            joined: list[str] = []
            for at in range(0, len(names), COMPOSE_MAX):
                name = f"{UPLOADS}{upload}/joined-{step:02d}-{at:05d}"
                self._compose(name, names[at : at + COMPOSE_MAX], generations[at : at + COMPOSE_MAX], {}, ANY)
                joined.append(name)
            names, generations, step = joined, [None] * len(joined), step + 1
        try:
            info = self._compose(key, names, generations, {**meta, MARK: upload}, only_if)
        except PreconditionFailed:
            found = self._made_by(key, upload)  # a lost answer to an earlier attempt of ours is no conflict
            if found is None:
                raise
            info = found
        self.abort_upload(key, upload)
        return info

    def _made_by(self, key: str, upload: str) -> ObjectInfo | None:
        blob = self._blob(key)
        try:
            with self._asking("head", key):
                blob.reload(**self._call)
        except (NotFound, Denied):
            return None
        return _info(key, blob) if (blob.metadata or {}).get(MARK) == upload else None

    def abort_upload(self, key: str, upload: str) -> None:
        for info in list(self.list(f"{UPLOADS}{upload}/")):
            with suppress(Denied):  # a policy without delete leaves parts behind; a lifecycle rule takes them
                self.delete(info.key)

    def _upload_meta(self, key: str, upload: str) -> dict[str, str]:
        try:
            raw = self.get_range(f"{UPLOADS}{upload}/meta", 0, 1 << 20)
        except NotFound as error:
            raise NotFound("no such upload", where=key) from error
        return {str(name): str(value) for name, value in json.loads(raw)["meta"].items()}

    def _compose(
        self,
        key: str,
        sources: Sequence[str],
        generations: Sequence[int | None],
        meta: Mapping[str, str],
        only_if: Precondition,
    ) -> ObjectInfo:
        blob = self._blob(key)
        blob.content_type = "application/octet-stream"
        blob.metadata = dict(meta)
        wanted: dict[str, Any] = {**_condition(only_if), **self._call}
        with self._asking("finish", key, if_version=only_if.if_version, gone=False):
            blob.compose([self._blob(name) for name in sources], if_source_generation_match=list(generations), **wanted)
        return _info(key, blob)


FIELDS = "items(name,size,generation,updated,md5Hash,metadata),nextPageToken"


def _generation(version: str) -> int:
    # 0 means "absent" to the server, and text can be no generation at all: both match nothing.
    return int(version) if version.isdigit() and int(version) > 0 else 1


def _condition(only_if: Precondition) -> dict[str, Any]:
    if only_if.if_version is not None:
        return {"if_generation_match": _generation(only_if.if_version)}
    return {"if_generation_match": 0} if only_if.if_absent else {}


def _info(key: str, blob: Any) -> ObjectInfo:
    modified = blob.updated.timestamp() if blob.updated is not None else 0.0
    meta = {name.lower(): value for name, value in (blob.metadata or {}).items() if name != MARK}
    md5 = base64.b64decode(blob.md5_hash) if blob.md5_hash else None
    return ObjectInfo(key, int(blob.size or 0), str(blob.generation), modified, meta, md5)


def _info_of_headers(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    meta = {
        name.lower().removeprefix("x-goog-meta-"): value
        for name, value in headers.items()
        if name.lower().startswith("x-goog-meta-") and not name.lower().endswith(MARK)
    }
    md5 = None
    for one in headers.get("x-goog-hash", "").split(","):
        kind, _, value = one.strip().partition("=")
        if kind == "md5":
            md5 = base64.b64decode(value)
    size = int(headers.get("x-goog-stored-content-length") or headers.get("Content-Length") or 0)
    return ObjectInfo(key, size, headers.get("x-goog-generation", ""), 0.0, meta, md5)
