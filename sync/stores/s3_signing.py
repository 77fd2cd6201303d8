"""AWS Signature Version 4 for S3, in headers (pure).

Source: Amazon's "Authenticating Requests: Using the Authorization Header". S3 signs the path as it is sent: each byte
outside of `A-Za-z0-9-_.~/` is escaped once, and `.`, `..` and empty parts stay.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Who signs. `repr` shows nothing."""

    id: str
    secret: str
    token: str = ""


def escaped(text: str, *, safe: str = "") -> str:
    """`text` as signatures and request lines carry it."""
    return quote(text.encode("utf-8", "surrogatepass"), safe=safe + "-_.~")


def query_string(query: Mapping[str, str]) -> str:
    """A query in the one form that is both sent and signed."""
    if not query:
        return ""
    return "&".join(f"{name}={value}" for name, value in sorted((escaped(n), escaped(v)) for n, v in query.items()))


def payload_hash(pieces: Iterable[bytes]) -> str:
    """What `x-amz-content-sha256` says of a body."""
    digest = hashlib.sha256(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def signed(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    keys: Keys,
    region: str,
    now_s: float,
    payload: str = _EMPTY,
) -> dict[str, str]:
    """`headers` and those that authenticate the request at `now_s` (seconds since the epoch).

    `path` and `query` are escaped already; every header given is signed.
    """
    stamp = _stamp(int(now_s))
    day = stamp[:8]
    whole = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    whole |= {"host": host, "x-amz-content-sha256": payload, "x-amz-date": stamp}
    if keys.token:
        whole["x-amz-security-token"] = keys.token
    order = sorted(whole)
    names = ";".join(order)
    lines = "".join([f"{name}:{whole[name]}\n" for name in order])
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_key(keys.secret, day, region), text.encode(), "sha256").hex()
    credential = f"Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**whole, "authorization": f"AWS4-HMAC-SHA256 {credential}"}


@lru_cache(maxsize=8)
def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=8)
def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
