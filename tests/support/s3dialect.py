"""A small S3 server that behaves like OSS, OBS, COS or AWS where they differ, with signatures verified.

It is an HTTP proxy: with `http_proxy` pointing here, `http://bucket.s3.oss-cn-test.aliyuncs.com` is answered by this
process, so that virtual hosts, real endpoint names and signatures are tested as they are. What each dialect does
comes from the providers' documentation and from users' reports; docs/clouds/README.md says what is unverified.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from sync.stores.config import StoreConfig
from sync.stores.secret import Secret
from tests.support.dialects import AWS, COS, DIALECTS, OBS, OSS, VARIABLES, Dialect
from tests.support.s3answers import Answer, Refusal, listing_xml, listing_xml_v2
from tests.support.sigv4 import signature_fault

__all__ = ["AWS", "COS", "DIALECTS", "OBS", "OSS", "DialectServer", "Stored", "dialect_server"]


@dataclass
class Stored:
    body: bytes
    meta: dict[str, str]
    etag: str
    modified: datetime
    storage_class: str = "STANDARD"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class DialectServer:
    """The bucket's whole state, and what the tests may turn."""

    dialect: Dialect
    bucket: str = "notebooks-1250000000"
    secrets: dict[str, str] = field(default_factory=lambda: {"tester": "tester-secret"})
    token: str = ""  # required in x-amz-security-token when set
    ahead_s: float = 0.0  # of this machine's clock
    versioned: bool = False  # makes forbid-overwrite void
    page: int = 1000
    allows: Callable[[str, str], bool] = lambda action, key: True  # the policy: S3 action, key or listing prefix
    copy_fails_with_200: bool = False
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[str, str], dict[int, tuple[bytes, str]]]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    lock: Any = field(default_factory=threading.Lock)

    @property
    def proxy(self) -> str:
        """For `http_proxy`."""
        return f"http://127.0.0.1:{self.port}"

    def config(self, prefix: str, **changes: Any) -> StoreConfig:
        """The configuration of a folder in the bucket."""
        credentials = {"id": Secret("tester"), "secret": Secret("tester-secret")}
        wanted = {"endpoint": f"http://{self.dialect.host}", "credentials": credentials, "region": self.dialect.region}
        return StoreConfig(self.dialect.provider, self.bucket, prefix, **{**wanted, **changes})

    def environ(self, folder: str, *, secret: str = "tester-secret") -> dict[str, str]:
        """The variables a user would set, and the proxy that leads to this server."""
        place, key, secret_name, endpoint = VARIABLES[self.dialect.provider]
        return {
            place: f"{self.bucket}/{folder}",
            key: "tester",
            secret_name: secret,
            endpoint: f"http://{self.dialect.host}",
            "http_proxy": self.proxy,
            "no_proxy": "127.0.0.1",
        }

    # --- answering -----------------------------------------------------------------------------------------------

    def answer(self, verb: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """One request, already read."""
        with self.lock:
            self.requests.append((verb, target, headers))
            try:
                return self._answer(verb, target, headers, body)
            except Refusal as refusal:
                return refusal.answer(verb)

    def _answer(self, verb: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        host = headers["host"]
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        bucket, key = self._addressed(verb, host, unquote(parts.path))
        if "aws-chunked" in headers.get("content-encoding", "") or "transfer-encoding" in headers:
            raise Refusal(400, "InvalidArgument", "aws-chunked encoding is not supported")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        fault = signature_fault(verb, path, headers, body, secrets=self.secrets, region=self.dialect.region)
        if self.token and headers.get("x-amz-security-token", "") != self.token:
            fault = fault or "ExpiredToken"
        signed_at = datetime.strptime(headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if not fault and abs((datetime.now(UTC) - signed_at).total_seconds() + self.ahead_s) > 900.0:
            fault = "RequestTimeTooSkewed"
        if fault:
            raise Refusal(400 if fault in {"AuthorizationHeaderMalformed", "ExpiredToken"} else 403, fault)
        if not bucket:
            return Answer(200, b"<ListAllMyBucketsResult/>")  # a bucket-less host looks healthy
        if bucket != self.bucket:
            raise Refusal(404, "NoSuchBucket")
        stated = headers.get("content-md5")
        if stated is not None and stated != base64.b64encode(hashlib.md5(body).digest()).decode():
            raise Refusal(400, "BadDigest")
        if not key:
            return self._of_bucket(verb, query)
        return self._of_object(verb, key, query, headers, body)

    def _addressed(self, verb: str, host: str, path: str) -> tuple[str, str]:
        dialect = self.dialect
        for end in (dialect.host, *dialect.elsewhere):
            if host.endswith("." + end):
                if end in dialect.elsewhere:
                    raise Refusal(*_wrong_place(dialect))
                return host.removesuffix("." + end), path[1:]
            if host == end:
                bucket, _, key = path[1:].partition("/")
                if bucket and not dialect.path_style:
                    if verb == "HEAD" and not key:
                        return bucket, key  # HeadBucket is content with what no PUT can use
                    raise Refusal(*dialect.path_refusal)
                return bucket, key
        raise Refusal(502, "UnknownHost")

    def _of_bucket(self, verb: str, query: dict[str, str]) -> Answer:
        prefix = query.get("prefix", "")
        if verb == "HEAD":
            self._need("s3:ListBucket", prefix)
            return Answer(200, b"")
        if verb != "GET":
            raise Refusal(405, "MethodNotAllowed")
        self._need("s3:ListBucket", prefix)
        marker = query.get("marker", "") or query.get("continuation-token", "")
        if not self.dialect.list_v2:
            marker = query.get("marker", "")
        if self.dialect.encoding_breaks_marker and "encoding-type" in query:
            marker = ""
        # Text sorts by code points, which is the order of its UTF-8 bytes.
        rest = sorted(key for key in self.objects if key > marker and key.startswith(prefix))
        page, more = rest[: self.page], len(rest) > self.page
        items = [(key, self.objects[key]) for key in page]
        encoded = query.get("encoding-type") == "url"
        if query.get("list-type") == "2" and self.dialect.list_v2:
            return Answer(200, listing_xml_v2(self.bucket, prefix, items, more, encoded))
        return Answer(200, listing_xml(self.bucket, prefix, marker, items, more, encoded))

    def _need(self, action: str, what: str) -> None:
        if not self.allows(action, what):
            raise Refusal(403, "AccessDenied", f"not authorized to perform: {action}")

    def _of_object(self, verb: str, key: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        if "uploads" in query or "uploadId" in query:
            return self._of_upload(verb, key, query, headers, body)
        if verb in {"GET", "HEAD"}:
            return self._read(verb, key, headers)
        if verb == "PUT":
            self._need("s3:PutObject", key)
            if "x-amz-copy-source" in headers:
                return self._copy(key, headers)
            self._conditions(key, headers)
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            self.objects[key] = Stored(body, self._meta(headers), etag, datetime.now(UTC))
            return Answer(200, b"", {"ETag": etag})
        if verb == "DELETE":
            self._need("s3:DeleteObject", key)
            if self.dialect.s3_conditions == "yes" and "if-match" in headers:
                self._compare(key, headers["if-match"])
            self.objects.pop(key, None)
            return Answer(204, b"")
        raise Refusal(405, "MethodNotAllowed")

    def _read(self, verb: str, key: str, headers: dict[str, str]) -> Answer:
        self._need("s3:GetObject", key)
        found = self.objects.get(key)
        if found is None:
            self._need("s3:ListBucket", "")  # without the right to list the bucket, absence is a secret
            raise Refusal(404, "NoSuchKey")
        if found.storage_class in {"GLACIER", "Archive", "COLD"} and verb == "GET":
            raise Refusal(403, "InvalidObjectState")
        if "if-match" in headers:
            self._compare(key, headers["if-match"])
        meta = {f"x-amz-meta-{name}": value for name, value in found.meta.items()}
        content, status, extra = found.body, 200, {}
        if "range" in headers:
            first, _, last = headers["range"].removeprefix("bytes=").partition("-")
            if int(first) >= len(content):
                raise Refusal(416, "InvalidRange")
            end = min(int(last) if last else len(content) - 1, len(content) - 1)
            extra = {"Content-Range": f"bytes {first}-{end}/{len(content)}"}
            content, status = content[int(first) : end + 1], 206
        modified = found.modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return Answer(
            status, content, {"ETag": found.etag, "Last-Modified": modified, **meta, **extra, **found.headers}
        )

    def _copy(self, key: str, headers: dict[str, str]) -> Answer:
        source = unquote(headers["x-amz-copy-source"]).lstrip("/").removeprefix(self.bucket + "/")
        self._need("s3:GetObject", source)
        if source not in self.objects:
            raise Refusal(404, "NoSuchKey")
        if "x-amz-copy-source-if-match" in headers:
            self._compare(source, headers["x-amz-copy-source-if-match"])
        if self.copy_fails_with_200:
            return Answer(200, b"<Error><Code>InternalError</Code><Message>later</Message></Error>")
        found = self.objects[source]
        self.objects[key] = Stored(found.body, found.meta, found.etag, datetime.now(UTC))
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        told = f"<ETag>{escape(found.etag)}</ETag><LastModified>{stamp}</LastModified>"
        return Answer(200, f"<CopyObjectResult>{told}</CopyObjectResult>".encode())

    def _of_upload(self, verb: str, key: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        if verb == "POST" and "uploads" in query:
            self._need("s3:PutObject", key)
            upload = uuid.uuid4().hex
            self.uploads[upload] = (key, self._meta(headers), {})
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return Answer(200, text.encode())
        upload = query["uploadId"]
        if verb == "DELETE":
            self._need("s3:AbortMultipartUpload", key)
        if verb == "GET":
            self._need("s3:ListMultipartUploadParts", key)
        if upload not in self.uploads or self.uploads[upload][0] != key:
            raise Refusal(404, "NoSuchUpload")
        _, meta, parts = self.uploads[upload]
        if verb == "PUT":
            self._need("s3:PutObject", key)
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            parts[int(query["partNumber"])] = (body, etag)
            return Answer(200, b"", {"ETag": etag})
        if verb == "GET":
            listed = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag><Size>{len(content)}</Size></Part>"
                for number, (content, etag) in sorted(parts.items())
            )
            text = f"<ListPartsResult><IsTruncated>false</IsTruncated>{listed}</ListPartsResult>"
            return Answer(200, text.encode())
        if verb == "POST":
            self._need("s3:PutObject", key)
            self._conditions(key, headers)
            content = b"".join(parts[number][0] for number in sorted(parts))
            mixed = hashlib.md5(b"".join(hashlib.md5(parts[n][0]).digest() for n in sorted(parts))).hexdigest()
            etag = f'"{mixed}-{len(parts)}"'
            self.objects[key] = Stored(content, meta, etag, datetime.now(UTC))
            del self.uploads[upload]
            text = f"<CompleteMultipartUploadResult><ETag>{escape(etag)}</ETag></CompleteMultipartUploadResult>"
            return Answer(200, text.encode())
        del self.uploads[upload]
        return Answer(204, b"")

    def _meta(self, headers: dict[str, str]) -> dict[str, str]:
        meta = {n.removeprefix("x-amz-meta-"): v for n, v in headers.items() if n.startswith("x-amz-meta-")}
        if self.dialect.meta_without_underscore and any("_" in name for name in meta):
            raise Refusal(400, "InvalidArgument", "metadata names have no underscore")
        return meta

    def _conditions(self, key: str, headers: dict[str, str]) -> None:
        given = [name for name in ("if-match", "if-none-match") if name in headers]
        if given and self.dialect.s3_conditions == "501":
            raise Refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        if given and self.dialect.s3_conditions == "yes":
            if "if-match" in headers:
                self._compare(key, headers["if-match"])
            elif key in self.objects:
                raise Refusal(412, "PreconditionFailed")
        native = self.dialect.forbid_overwrite
        if native and headers.get(native) == "true" and key in self.objects and not self.versioned:
            raise Refusal(409, "FileAlreadyExists")

    def _compare(self, key: str, wanted: str) -> None:
        found = self.objects.get(key)
        if found is None:
            raise Refusal(404, "NoSuchKey")
        if found.etag.strip('"') != wanted.strip('"'):
            raise Refusal(412, "PreconditionFailed")


def _wrong_place(dialect: Dialect) -> tuple[int, str, str, dict[str, str], str]:
    if dialect.provider == "s3":
        region = dialect.region or ""
        return 301, "PermanentRedirect", "use the other endpoint", {"x-amz-bucket-region": region}, dialect.host
    host = dialect.host.removeprefix("s3.")
    return 403, "AccessDenied", "The bucket must be addressed using the specified endpoint", {}, host


@contextmanager
def dialect_server(dialect: Dialect, **settings: Any) -> Iterator[DialectServer]:
    """The server while inside."""
    state = DialectServer(dialect, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            target = self.path[self.path.index(parts.netloc) + len(parts.netloc) :] if parts.netloc else self.path
            answer = state.answer(self.command, target or "/", headers, body)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """A client that went away is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
