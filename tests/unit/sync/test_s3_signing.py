"""Our signatures against those of the vendor's SDK, on requests that nobody would choose by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import Transient
from sync.stores.s3_answers import Refused, checked, page, parts, refusal, seconds
from sync.stores.s3_signing import UNSIGNED, Keys, escaped, query_string, signed

NOW_S = 1_790_000_000.0
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


class Frozen(botocore.auth.S3SigV4Auth):
    """Signs for a given moment."""

    def canonical_request_of(self, request: AWSRequest) -> str:
        request.context["timestamp"] = datetime.fromtimestamp(NOW_S, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        return str(self.signature(self.string_to_sign(request, canonical), request))


@settings(max_examples=150, deadline=None)
@given(
    key=st.lists(TEXT | st.sampled_from(["", ".", "..", "a b", "ü", "+", "%41", "~"]), min_size=1, max_size=4),
    query=st.dictionaries(TEXT.filter(bool), TEXT, max_size=3),
    meta=st.text("abc XYZ019-_./", max_size=20),
    token=st.sampled_from(["", "a-token"]),
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
)
def test_signatures_are_those_of_the_sdk(
    key: list[str], query: dict[str, str], meta: str, token: str, method: str
) -> None:
    path = "/bucket/" + escaped("/".join(key), safe="/")
    asked = query_string(query)
    headers = {"x-amz-meta-mode": meta, "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==", "if-match": '"abc"'}
    request = AWSRequest(
        method, f"https://127.0.0.1:9000{path}" + (f"?{asked}" if asked else ""), headers=dict(headers)
    )
    request.context["client_config"] = None
    request.headers["X-Amz-Content-SHA256"] = UNSIGNED
    auth = Frozen(Credentials("the-id", "the-secret", token or None), "s3", "eu-central-1")
    auth.payload = lambda request: UNSIGNED  # type: ignore[method-assign]
    theirs = auth.canonical_request_of(request)
    ours = signed(
        method,
        "127.0.0.1:9000",
        path,
        asked,
        headers,
        keys=Keys("the-id", "the-secret", token),
        region="eu-central-1",
        now_s=NOW_S,
        payload=UNSIGNED,
    )
    assert ours["authorization"].endswith(f"Signature={theirs}")


def test_keys_are_not_shown() -> None:
    assert "the-secret" not in repr(Keys("the-id", "the-secret"))


def test_a_page_of_a_listing() -> None:
    body = b"""<?xml version="1.0"?>
    <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>
    <IsTruncated>true</IsTruncated><NextContinuationToken>n</NextContinuationToken>
    <Contents><Key>p/</Key><Size>0</Size><ETag>"0"</ETag><LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents>
    <Contents><Key>p/a+b%2Bc</Key><Size>5</Size><ETag>&quot;e&quot;</ETag>
    <LastModified>2026-01-02T03:04:05Z</LastModified></Contents></ListBucketResult>"""
    found = page(body, "p/", 2)
    assert [(o.key, o.size, o.version) for o in found.objects] == [("a b+c", 5, '"e"')]
    assert found.next == "n"
    assert found.objects[0].modified == seconds("Fri, 02 Jan 2026 03:04:05 GMT") == 1767323045.0
    assert page(body, "p/", 1).next == "p/a b+c"  # old servers name no marker: the last key is it


def test_parts_and_failures() -> None:
    listed = b"<R><IsTruncated>true</IsTruncated><NextPartNumberMarker>7</NextPartNumberMarker>"
    listed += b"<Part><PartNumber>7</PartNumber><ETag>x</ETag><Size>3</Size></Part></R>"
    (part,), after, is_cut = parts(listed)
    assert (part.number, part.version, part.size, after, is_cut) == (7, '"x"', 3, 7, True)
    with pytest.raises(Refused) as caught:
        checked(b"  \n<Error><Code>InternalError</Code></Error>")
    assert (caught.value.status, caught.value.code) == (500, "InternalError")
    assert refusal(503, {"retry-after": "7"}, b"<html>not xml").after_s == 7.0
    with pytest.raises(Transient):
        checked(b"<html><p>pay first</html>")
