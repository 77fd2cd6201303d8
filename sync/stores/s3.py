"""S3 and everything that speaks it, by `profiles.py`: obstore carries the bytes, boto3 the control and the parts.

obstore cannot write some keys (`dir/`, `a//b`, `..`, control characters): boto3 carries those. Servers that would
quietly store another key than the one asked for are found out before the first such write (`exact_keys`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import obstore

from sync.errors import Corrupt, NotFound, PreconditionFailed, Transient, Unsupported
from sync.stores import ANY, ObjectInfo, Part, Precondition
from sync.stores.body import opened, read, size_of
from sync.stores.carrier import CHUNK_BYTES, fits_obstore, quoted, user_meta
from sync.stores.s3_bucket import S3Bucket, encrypted

# obstore bounds a whole request in time, boto3 each piece of it: a larger body on a slow line needs the latter.
OBSTORE_MAX_BYTES = 1024 * 1024


class S3Store(S3Bucket):
    """One bucket prefix on a server that speaks S3."""

    # --- reading -------------------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        marker = ""
        while True:
            with self._asking("list", prefix):
                page, marker_after = self._page(self._above + prefix, marker)
            for item in page:
                key = item["Key"]
                if not key.startswith(self._above) or key == self._above:
                    continue  # the prefix's own directory marker
                version = str(item.get("ETag", "")).strip()
                modified = item["LastModified"].timestamp()
                yield ObjectInfo(key[len(self._above) :], item["Size"], quoted(version), modified)
            if not marker_after:
                return
            if marker_after == marker:
                raise Transient("the server repeats a page of its listing", where=prefix or self.url)
            marker = marker_after

    def head(self, key: str) -> ObjectInfo:
        with self._asking("head", key):
            answer = self._control.head_object(Bucket=self.config.bucket, Key=self._full(key))
        version = quoted(answer["ETag"])
        modified = answer["LastModified"].timestamp()
        meta = {name.lower(): value for name, value in answer["Metadata"].items()}
        hidden = encrypted(answer)
        return ObjectInfo(
            key, answer["ContentLength"], version, modified, meta, None if hidden else self._md5_of(version)
        )

    def get(self, key: str, into: BinaryIO, *, if_version: str | None = None) -> ObjectInfo:
        full = self._full(key)
        digest = hashlib.md5(usedforsecurity=False)
        received = 0
        info: ObjectInfo | None = None
        with self._asking("get", key):
            for chunk in self._open(key, full, if_version):
                if isinstance(chunk, ObjectInfo):
                    info = chunk
                    continue
                received += len(chunk)
                digest.update(chunk)
                into.write(chunk)
        assert info is not None
        self.meter.add_bytes(received=received)
        if received != info.size:
            raise Corrupt(f"the body ended after {received} of {info.size} bytes", where=key)
        if info.md5 is not None and info.md5 != digest.digest():
            self._explain_mismatch(key)
            info = replace(info, md5=None)
        return info

    def _open(self, key: str, full: str, if_version: str | None) -> Iterator[ObjectInfo | bytes]:
        """The object's info, then its bytes."""
        if fits_obstore(full):
            options: Any = {"if_match": if_version} if if_version is not None else None
            answer = obstore.get(self._clients.reading, full, options=options)
            stated = answer.meta
            version = quoted(stated["e_tag"] or "")
            meta = user_meta(answer.attributes)
            modified = stated["last_modified"].timestamp()
            yield ObjectInfo(key, stated["size"], version, modified, meta, self._md5_of(version))
            for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)
            return
        wanted: dict[str, Any] = {"IfMatch": if_version} if if_version is not None else {}
        found = self._control.get_object(Bucket=self.config.bucket, Key=full, **wanted)
        version = quoted(found["ETag"])
        modified = found["LastModified"].timestamp()
        md5 = None if encrypted(found) else self._md5_of(version)
        yield ObjectInfo(key, found["ContentLength"], version, modified, found["Metadata"], md5)
        yield from found["Body"].iter_chunks(CHUNK_BYTES)

    def get_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        full = self._full(key)
        if length <= 0:
            return b""
        try:
            with self._asking("get", key):
                if fits_obstore(full):
                    options: Any = {"range": (start, start + length)}
                    if if_version is not None:
                        options["if_match"] = if_version
                    content = bytes(obstore.get(self._clients.reading, full, options=options).bytes())
                else:
                    wanted: dict[str, Any] = {"IfMatch": if_version} if if_version is not None else {}
                    span = f"bytes={start}-{start + length - 1}"
                    answer = self._control.get_object(Bucket=self.config.bucket, Key=full, Range=span, **wanted)
                    content = answer["Body"].read()
        except Unsupported as error:
            if "416" in str(error) or "InvalidRange" in str(error):
                return b""
            raise
        self.meter.add_bytes(received=len(content))
        return content

    # --- writing -------------------------------------------------------------------------------------------------

    def put(self, key: str, body: bytes | Path, *, meta: Mapping[str, str], only_if: Precondition = ANY) -> ObjectInfo:
        full = self._full_for_writing(key)
        extra, headers = self._conditions(key, only_if)
        size = size_of(body)
        if size > self.facts.max_put_bytes:
            raise Unsupported("the body is too large for one request", where=key)
        if isinstance(body, Path) and size <= OBSTORE_MAX_BYTES:
            body = read(body)
        with self._asking("put", key, if_version=only_if.if_version):
            is_small = isinstance(body, bytes) and size <= OBSTORE_MAX_BYTES
            if is_small and fits_obstore(full) and not headers and _ascii(meta):
                assert isinstance(body, bytes)
                md5 = hashlib.md5(body, usedforsecurity=False).digest()
                mode: Any = "overwrite"
                if only_if.if_absent:
                    mode = "create"
                elif only_if.if_version is not None:
                    mode = {"e_tag": only_if.if_version}
                answer = obstore.put(
                    self._clients.sending, full, body, attributes=dict(meta), mode=mode, use_multipart=False
                )
                version = quoted(answer["e_tag"] or "")
            else:
                version, md5 = self._put_by_boto(full, body, meta, extra, headers)
        self.meter.add_bytes(sent=size)
        stated = self._md5_of(version)
        if stated is not None and stated != md5:
            self._explain_mismatch(key)
        return ObjectInfo(key, size, version, 0.0, dict(meta), md5)

    def _put_by_boto(
        self, full: str, body: bytes | Path, meta: Mapping[str, str], extra: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[str, bytes]:
        digest = hashlib.md5(usedforsecurity=False)
        if isinstance(body, bytes):
            digest.update(body)
        else:
            with opened(body) as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
        wanted = {
            "Bucket": self.config.bucket,
            "Key": full,
            "Metadata": dict(meta),
            "ContentMD5": base64.b64encode(digest.digest()).decode(),
            **extra,
        }
        with self._headers(headers):
            if isinstance(body, bytes):
                answer = self._control.put_object(Body=body, **wanted)
            else:
                with opened(body) as file:
                    answer = self._control.put_object(Body=file, **wanted)
        return quoted(answer["ETag"]), digest.digest()

    def copy(
        self, source: str, target: str, *, if_version: str | None = None, only_if: Precondition = ANY
    ) -> ObjectInfo:
        if not self.facts.copy:
            raise Unsupported("this provider has no server-side copy", where=target)
        if only_if != ANY and not self.profile.copy_if:
            raise Unsupported("this provider cannot copy under a condition", where=target)
        full = self._full_for_writing(target)
        extra: dict[str, Any] = {"CopySourceIfMatch": if_version} if if_version is not None else {}
        if only_if.if_absent:
            extra["IfNoneMatch"] = "*"
        elif only_if.if_version is not None:
            extra["IfMatch"] = only_if.if_version
        origin = {"Bucket": self.config.bucket, "Key": self._full(source)}
        with self._asking("copy", source):
            answer = self._control.copy_object(Bucket=self.config.bucket, Key=full, CopySource=origin, **extra)  # type: ignore[arg-type]
        found = self.head(target)
        stated = answer["CopyObjectResult"].get("ETag")
        return replace(found, version=quoted(stated)) if stated else found

    def delete(self, key: str, *, if_version: str | None = None) -> None:
        extra: dict[str, Any] = {}
        if if_version is not None:
            if not self.facts.delete_if_match:
                raise Unsupported("this provider cannot delete under a condition", where=key)
            extra["IfMatch"] = if_version
        try:
            with self._asking("delete", key):
                self._control.delete_object(Bucket=self.config.bucket, Key=self._full(key), **extra)
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
            answer = self._control.create_multipart_upload(Bucket=self.config.bucket, Key=full, Metadata=dict(meta))
        return answer["UploadId"]

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        with self._asking("part", key):
            answer = self._control.upload_part(
                Bucket=self.config.bucket,
                Key=self._full(key),
                UploadId=upload,
                PartNumber=number,
                Body=body,
                ContentMD5=digest,
            )
        self.meter.add_bytes(sent=len(body))
        return Part(number, quoted(answer["ETag"]), len(body))

    def list_parts(self, key: str, upload: str) -> Sequence[Part]:
        parts: list[Part] = []
        marker = 0
        while True:
            with self._asking("list_parts", key):
                answer = self._control.list_parts(
                    Bucket=self.config.bucket, Key=self._full(key), UploadId=upload, PartNumberMarker=marker
                )
            parts += [Part(p["PartNumber"], quoted(p["ETag"]), p["Size"]) for p in answer.get("Parts", [])]
            after = int(answer.get("NextPartNumberMarker", 0))
            if not answer.get("IsTruncated") or after <= marker:
                return tuple(parts)
            marker = after

    def finish_upload(self, key: str, upload: str, parts: Sequence[Part], *, only_if: Precondition = ANY) -> ObjectInfo:
        extra, headers = self._conditions(key, only_if)
        listed: Any = {"Parts": [{"PartNumber": part.number, "ETag": part.version} for part in parts]}
        with self._asking("finish", key, if_version=only_if.if_version, upload=True), self._headers(headers):
            answer = self._control.complete_multipart_upload(
                Bucket=self.config.bucket, Key=self._full(key), UploadId=upload, MultipartUpload=listed, **extra
            )
        return ObjectInfo(key, sum(part.size for part in parts), quoted(answer["ETag"]), 0.0)

    def abort_upload(self, key: str, upload: str) -> None:
        try:
            with self._asking("abort", key):
                self._control.abort_multipart_upload(Bucket=self.config.bucket, Key=self._full(key), UploadId=upload)
        except NotFound:
            return


def _ascii(meta: Mapping[str, str]) -> bool:
    return all(value.isascii() and value.isprintable() for value in meta.values())
