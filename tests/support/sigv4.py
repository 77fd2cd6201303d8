"""AWS Signature Version 4, checked as a server does it (from the public specification, not from a client's code)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit


def signature_fault(
    verb: str, target: str, headers: Mapping[str, str], body: bytes, *, secrets: Mapping[str, str], region: str | None
) -> str:
    """The S3 error code for a badly signed request, or "". `target` is path and query as sent; names lower-case."""
    given = headers.get("authorization", "")
    if not given.startswith("AWS4-HMAC-SHA256 "):
        return "AccessDenied"
    fields = dict(part.strip().split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(","))
    key, day, scope_region, service, end = fields["Credential"].split("/")
    if key not in secrets:
        return "InvalidAccessKeyId"
    if region is not None and scope_region != region:
        return "AuthorizationHeaderMalformed"
    stated = headers["x-amz-content-sha256"]
    if stated != "UNSIGNED-PAYLOAD" and stated != hashlib.sha256(body).hexdigest():
        return "XAmzContentSHA256Mismatch"
    parts = urlsplit(target)
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    signed = fields["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            verb,
            parts.path or "/",
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            stated,
        ]
    )
    scope = f"{day}/{scope_region}/{service}/{end}"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{secrets[key]}".encode()
    for piece in (day, scope_region, service, end):
        signing = hmac.new(signing, piece.encode(), hashlib.sha256).digest()
    expected = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(expected, fields["Signature"]) else "SignatureDoesNotMatch"
