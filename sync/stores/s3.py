"""S3 and everything that speaks it, by `profiles.py`, over our own wire.

Servers that would quietly store another key than the one asked for are found out before the first such write
(`exact_keys`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from sync.errors import Corrupt, NotFound, PreconditionFailed, SyncError, Transient, Unsupported
from sync.stores import ANY, ObjectInfo, Part, Precondition, Read, Write
from sync.stores.body import opened, size_of
from sync.stores.exchange import Sent
from sync.stores.network import quoted
from sync.stores.s3_answers import checked, parts, seconds
from sync.stores.s3_bucket import S3Bucket, encrypted
from sync.stores.s3_signing import escaped
from sync.stores.s3_wire import Body, success
from sync.stores.together import Arrived, Written

META = "x-amz-meta-"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class S3Store(S3Bucket):
    """One bucket prefix on a server that speaks S3."""

    # --- reading -------------------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        marker = ""
        while True:
            with self._asking("list", prefix):
                found = self._page(self._above + prefix, marker, self._above)
            yield from found.objects
            if not found.next:
                return
            if found.next == marker:
                raise Transient("the server repeats a page of its listing", where=prefix or self.url)
            marker = found.next

    def head(self, key: str) -> ObjectInfo:
        with self._asking("head", key):
            return self._info(key, self._wire.ask("HEAD", self._full(key)).headers)

    def _info(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        """An object by the headers of its answer."""
        if "last-modified" not in headers:
            raise Transient("the server's answer says nothing of the object", where=key)
        version = quoted(headers.get("etag", ""))
        meta = {name.removeprefix(META): value for name, value in headers.items() if name.startswith(META)}
        md5 = None if encrypted(headers) else self._md5_of(version)
        size = int(headers.get("content-length", 0))
        return ObjectInfo(key, size, version, seconds(headers["last-modified"]), meta, md5)

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        full = self._full(key)
        digest = hashlib.md5(usedforsecurity=False)
        with self._asking("get", key), success(self._wire.send("GET", full, headers=_if_match(if_version))) as answer:
            info = self._info(key, answer.headers)
            received = 0
            for piece in answer.pieces():
                received += len(piece)
                digest.update(piece)
                into.write(piece)
        return self._verified(info, received, digest.digest())

    def get_many(self, reads: Sequence[Read]) -> Arrived:
        """See `together.py`."""
        sent: dict[Sent, tuple[int, str]] = {}
        unreachable = self._warm(len(reads))
        try:
            for number, read in enumerate(reads):
                try:
                    self._reach(unreachable)
                    with self._asking("get", read.key):
                        request = self._wire.send("GET", self._full(read.key), headers=_if_match(read.if_version))
                except SyncError as error:
                    yield number, error
                else:
                    sent[request] = number, read.key
            for request in Sent.as_they_come(tuple(sent)):
                number, key = sent.pop(request)
                try:
                    with self._asking("get", key, is_counted=True), success(request) as answer:
                        info, body = self._info(key, answer.headers), answer.read()
                    info = self._verified(info, len(body), hashlib.md5(body, usedforsecurity=False).digest())
                except SyncError as error:
                    yield number, error
                else:
                    yield number, (info, body)
        finally:
            for request in sent:
                request.drop()

    def _verified(self, info: ObjectInfo, received: int, digest: bytes) -> ObjectInfo:
        """What is known of an object whose body arrived. Raises Corrupt where that is not the object's."""
        self.meter.add_bytes(received=received)
        if received != info.size:
            raise Corrupt(f"the body ended after {received} of {info.size} bytes", where=info.key)
        if info.md5 is not None and info.md5 != digest:
            self._explain_mismatch(info.key)
            info = replace(info, md5=None)
        return info

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes | memoryview:
        full = self._full(key)
        if length <= 0:
            return b""
        try:
            with self._asking("get", key):
                content = self._wire.take(full, _if_match(if_version), start, length)
        except Unsupported as error:
            if "416" in str(error) or "InvalidRange" in str(error):
                return b""
            raise
        self.meter.add_bytes(received=len(content))
        return content

    # --- writing -------------------------------------------------------------------------------------------------

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        full = self._full_for_writing(key)
        headers = self._conditions(key, only_if)
        size = size_of(body)
        if size > self.facts.max_put_bytes:
            raise Unsupported("the body is too large for one request", where=key)
        with self._asking("put", key, if_version=only_if.if_version):
            version, md5 = self._send(full, body, {**headers, **_meta_headers(key, meta)})
        return self._stored(key, size, meta, version, md5)

    def put_many(self, writes: Sequence[Write]) -> Written:
        """See `together.py`."""
        sent: dict[Sent, tuple[int, Write, bytes]] = {}
        unreachable = self._warm(len(writes))
        try:
            for number, write in enumerate(writes):
                try:
                    self._reach(unreachable)
                    full = self._full_for_writing(write.key)
                    headers = self._conditions(write.key, write.only_if) | _meta_headers(write.key, write.meta)
                    digest = hashlib.md5(write.body, usedforsecurity=False).digest()
                    body = Body(len(write.body), write.body, md5=_base64(digest))
                    with self._asking("put", write.key, if_version=write.only_if.if_version):
                        request = self._wire.send("PUT", full, headers=headers, body=body)
                except SyncError as error:
                    yield number, error
                else:
                    sent[request] = number, write, digest
            for request in Sent.as_they_come(tuple(sent)):
                number, write, digest = sent.pop(request)
                key, condition = write.key, write.only_if.if_version
                try:
                    with self._asking("put", key, if_version=condition, is_counted=True), success(request) as answer:
                        answer.read()
                        version = quoted(answer.headers.get("etag", ""))
                    yield number, self._stored(key, len(write.body), write.meta, version, digest)
                except SyncError as error:
                    yield number, error
        finally:
            for request in sent:
                request.drop()

    def _warm(self, count: int) -> SyncError | None:
        """Have `count` connections ready; why that was not possible."""
        try:
            with self._asking("connect", "", is_counted=True):
                self._wire.warm(count)
        except SyncError as error:
            return error
        return None

    def _reach(self, unreachable: SyncError | None) -> None:
        """Raise why there are no more connections, if none is left: eight requests would wait for it in turn."""
        if unreachable is not None and not self._wire.has_idle:
            raise unreachable

    def _stored(self, key: str, size: int, meta: Mapping[str, str], version: str, md5: bytes) -> ObjectInfo:
        """What is known of an object that was just put. Raises Corrupt where the server states another content."""
        self.meter.add_bytes(sent=size)
        stated = self._md5_of(version)
        if stated is not None and stated != md5:
            self._explain_mismatch(key)
        return ObjectInfo(key, size, version, 0.0, dict(meta), md5)

    def _send(self, full: str, body: bytes | Path, headers: Mapping[str, str]) -> tuple[str, bytes]:
        if isinstance(body, bytes):
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            sent = Body(len(body), body, md5=_base64(digest))
            return quoted(self._wire.ask("PUT", full, headers=headers, body=sent).headers.get("etag", "")), digest
        with opened(body) as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
            sent = Body(file.tell(), file=file, md5=_base64(digest))
            return quoted(self._wire.ask("PUT", full, headers=headers, body=sent).headers.get("etag", "")), digest

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        if not self.facts.copy:
            raise Unsupported("this provider has no server-side copy", where=target)
        if only_if != ANY and not self.profile.copy_if:
            raise Unsupported("this provider cannot copy under a condition", where=target)
        full = self._full_for_writing(target)
        headers = {"x-amz-copy-source": escaped(f"{self.config.bucket}/{self._full(source)}", safe="/")}
        if if_version is not None:
            headers["x-amz-copy-source-if-match"] = if_version
        if only_if.if_absent:
            headers["if-none-match"] = "*"
        elif only_if.if_version is not None:
            headers["if-match"] = only_if.if_version
        with self._asking("copy", source):
            stated = checked(self._wire.ask("PUT", full, headers=headers).body).get("ETag")
        found = self.head(target)
        return replace(found, version=quoted(stated)) if stated else found

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        if if_version is not None and not self.facts.delete_if_match:
            raise Unsupported("this provider cannot delete under a condition", where=key)
        try:
            with self._asking("delete", key):
                self._wire.ask("DELETE", self._full(key), headers=_if_match(if_version))
        except NotFound:
            return
        except PreconditionFailed:
            # Some servers answer 412 for a key that is not there at all, which is no error of ours.
            try:
                self.head(key)
            except NotFound:
                return
            raise

    # --- large files ---------------------------------------------------------------------------------------------

    def start_upload(self, key: str, *, meta: Mapping[str, str]) -> str:
        full = self._full_for_writing(key)
        with self._asking("start", key):
            answer = self._wire.ask("POST", full, {"uploads": ""}, _meta_headers(key, meta))
            return checked(answer.body)["UploadId"]

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        query = {"partNumber": str(number), "uploadId": upload}
        with self._asking("part", key):
            answer = self._wire.ask("PUT", self._full(key), query, body=Body(len(body), body, md5=_base64(digest)))
        self.meter.add_bytes(sent=len(body))
        return Part(number, quoted(answer.headers.get("etag", "")), len(body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        found: list[Part] = []
        marker = 0
        while True:
            query = {"uploadId": upload} | ({"part-number-marker": str(marker)} if marker else {})
            with self._asking("list_parts", key):
                more, after, is_cut = parts(self._wire.ask("GET", self._full(key), query).body)
            found += more
            if not is_cut or after <= marker:
                return tuple(found)
            marker = after

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{_text(part.version)}</ETag></Part>" for part in parts
        )
        content = f'<CompleteMultipartUpload xmlns="{NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()
        headers = {"content-type": "application/xml", **self._conditions(key, only_if)}
        body = Body(len(content), content)
        with self._asking("finish", key, if_version=only_if.if_version, upload=True):
            answer = self._wire.ask("POST", self._full(key), {"uploadId": upload}, headers, body)
            version = quoted(checked(answer.body).get("ETag", ""))
        return ObjectInfo(key, sum(part.size for part in parts), version, 0.0)

    def abort_upload(self, key: str, upload: str) -> None:
        try:
            with self._asking("abort", key):
                self._wire.ask("DELETE", self._full(key), {"uploadId": upload})
        except NotFound:
            return


def _text(value: str) -> str:
    """As XML carries it (the library's own function brings half of `urllib` with it)."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ascii(meta: Mapping[str, str]) -> bool:
    return all(value.isascii() and value.isprintable() for value in meta.values())


def _meta_headers(key: str, meta: Mapping[str, str]) -> dict[str, str]:
    if not _ascii(meta):
        raise Unsupported("metadata is plain text", where=key)
    return {META + name: value for name, value in meta.items()}


def _if_match(version: str | None) -> dict[str, str]:
    return {} if version is None else {"if-match": version}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
