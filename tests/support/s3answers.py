"""The XML that an S3 server says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Answer:
    """Status, body, headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An error answer."""

    def __init__(
        self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None, endpoint: str = ""
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.headers, self.endpoint = headers or {}, endpoint

    def answer(self, verb: str) -> Answer:
        """As sent; a HEAD has no body."""
        place = f"<Endpoint>{self.endpoint}</Endpoint>" if self.endpoint else ""
        text = f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message>{place}</Error>"
        return Answer(self.status, b"" if verb == "HEAD" else text.encode(), self.headers)


def _contents(items: Sequence[tuple[str, Any]], encoded: bool) -> str:
    def one(key: str, stored: Any) -> str:
        name = quote(key, safe="/") if encoded else escape(key)
        stamp = stored.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return (
            f"<Contents><Key>{name}</Key><LastModified>{stamp}</LastModified><ETag>{escape(stored.etag)}</ETag>"
            f"<Size>{len(stored.body)}</Size><StorageClass>{stored.storage_class}</StorageClass></Contents>"
        )

    return "".join(one(key, stored) for key, stored in items)


def listing_xml(
    bucket: str, prefix: str, marker: str, items: Sequence[tuple[str, Any]], more: bool, encoded: bool
) -> bytes:
    """ListObjects (version 1)."""
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{bucket}</Name>'
        f"<Prefix>{quote(prefix, safe='/') if encoded else escape(prefix)}</Prefix>"
        f"<Marker>{quote(marker, safe='/') if encoded else escape(marker)}</Marker><MaxKeys>1000</MaxKeys>{encoding}"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{_contents(items, encoded)}</ListBucketResult>"
    )
    return text.encode()


def listing_xml_v2(bucket: str, prefix: str, items: Sequence[tuple[str, Any]], more: bool, encoded: bool) -> bytes:
    """ListObjectsV2: the token is the last key."""
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    token = f"<NextContinuationToken>{escape(items[-1][0])}</NextContinuationToken>" if more else ""
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{bucket}</Name>'
        f"<Prefix>{quote(prefix, safe='/') if encoded else escape(prefix)}</Prefix><MaxKeys>1000</MaxKeys>{encoding}"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{_contents(items, encoded)}</ListBucketResult>"
    )
    return text.encode()
