"""OSS, OBS, COS and AWS where they differ: addressing, conditions, listings, regions, least privilege."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sync.errors import Denied, Misconfigured, NotFound, PreconditionFailed, Transient, Unsupported
from sync.stores import ABSENT, Writes, only_over
from sync.stores.profiles import AWS as AWS_PROFILE
from sync.stores.profiles import BY_NAME, profile_for
from sync.stores.retry import Patience, Retrying
from sync.stores.s3 import S3Store
from tests.support.s3dialect import AWS, COS, DIALECTS, OBS, OSS, DialectServer, Stored, dialect_server

Name = pytest.mark.parametrize("server", ["oss", "obs", "cos"], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DialectServer]:
    with dialect_server(DIALECTS[request.param]) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        yield running


def plain_profile(provider: str) -> object:
    """The provider's row with its endpoint over HTTP, since the test's proxy has no certificates."""
    row = BY_NAME[provider]
    return replace(row, endpoint=(row.endpoint or "https://s3.{region}.amazonaws.com").replace("https", "http"))


@Name
def test_wrong_addressing_is_a_mistake_of_the_configuration(server: DialectServer) -> None:
    row = replace(profile_for(server.dialect.provider, None), virtual_host=False)
    store = S3Store(server.config("user"), profile=row)
    with pytest.raises((Misconfigured, Denied)):
        store.put("a", b"", meta={})
    assert server.objects == {}


@Name
def test_wrong_keys_are_noticed(server: DialectServer) -> None:
    server.secrets = {"tester": "another-secret"}
    store = S3Store(server.config("user"))
    with pytest.raises(Denied, match="SignatureDoesNotMatch"):
        store.put("a", b"", meta={})


def writes_of_each_kind(server: DialectServer) -> None:
    store = S3Store(server.config("user"))
    store.put("small", b"x", meta={"mtime": "1"})
    store.put("dir/", b"", meta={"mtime": "1"})
    upload = store.start_upload("big", meta={})
    store.finish_upload("big", upload, [store.put_part("big", upload, 1, b"x")])


@Name
def test_aws_chunked_rejected(server: DialectServer) -> None:
    """Gateways refuse bodies in signed chunks: none is sent."""
    writes_of_each_kind(server)
    for _, _, headers in server.requests:
        assert "transfer-encoding" not in headers
        assert "x-amz-trailer" not in headers
        assert "aws-chunked" not in headers.get("content-encoding", "")


@Name
def test_checksum_header_rejected_by_gateway(server: DialectServer) -> None:
    """Gateways refuse the newer checksum headers: each write carries the one that all of them know."""
    writes_of_each_kind(server)
    for verb, _, headers in server.requests:
        assert not [name for name in headers if name.startswith(("x-amz-checksum-", "x-amz-sdk-checksum"))]
        if verb == "PUT":
            assert "content-md5" in headers or headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD"


@pytest.mark.parametrize("server", ["oss", "cos"], indirect=True)
def test_create_only_by_the_providers_own_header(server: DialectServer) -> None:
    store = S3Store(server.config("user"))
    assert store.facts.writes is Writes.CREATE_ONLY
    first = store.put("a", b"one", meta={}, only_if=ABSENT)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"two", meta={}, only_if=ABSENT)
    with pytest.raises(Unsupported):
        store.put("a", b"two", meta={}, only_if=only_over(first.version))
    upload = store.start_upload("a", meta={})
    with pytest.raises(PreconditionFailed):
        store.finish_upload("a", upload, [store.put_part("a", upload, 1, b"x")], only_if=ABSENT)
    assert server.objects["user/a"].body == b"one"


@pytest.mark.parametrize("server", ["obs"], indirect=True)
def test_a_provider_without_conditions_says_so(server: DialectServer) -> None:
    store = S3Store(server.config("user"))
    with pytest.raises(Unsupported):
        store.put("a", b"one", meta={}, only_if=ABSENT)
    assert server.objects == {}


@Name
def test_listing_of_many_pages_in_the_old_version(server: DialectServer) -> None:
    server.page = 3
    store = S3Store(server.config("user"))
    keys = [f"k{number:02d} +ü" for number in range(10)]
    for key in keys:
        store.put(key, b"", meta={})
    assert [info.key for info in store.list()] == keys


def test_a_listing_that_repeats_its_first_page_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(OBS, page=2) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        encoding = replace(profile_for("obs", None), url_encode=True)  # what OBS cannot page through
        store = S3Store(running.config("user"), profile=encoding)
        for key in "abcde":
            store.put(key, b"", meta={})
        with pytest.raises(Transient, match="repeats"):
            list(store.list())


def test_a_copy_that_fails_with_200_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(COS, copy_fails_with_200=True) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        store = S3Store(running.config("user"))
        store.put("a", b"x", meta={})
        with pytest.raises(Transient):
            store.copy("a", "b")


@pytest.mark.parametrize("server", ["oss", "cos"], indirect=True)
def test_the_region_is_found_out(server: DialectServer) -> None:
    config = server.config("user", endpoint=None, region=None)
    store = S3Store(config, profile=plain_profile(server.dialect.provider))  # type: ignore[arg-type]
    store.put("a", b"x", meta={})
    assert server.objects["user/a"].body == b"x"


def test_redirect_to_other_region(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = plain_profile("aws")
    with dialect_server(AWS) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        for region in (None, "us-east-1"):
            config = running.config("user", endpoint=None, region=region)
            store = Retrying(
                S3Store(config, profile=profile),  # type: ignore[arg-type]
                patience=Patience(first_wait_s=0.01),
            )
            store.put("a", b"x", meta={})
            assert [info.key for info in store.list()] == ["a"]


@pytest.mark.parametrize(
    ("provider", "endpoint", "seen", "region"),
    [
        ("oss", "https://oss-cn-beijing.aliyuncs.com", "https://s3.oss-cn-beijing.aliyuncs.com", "cn-beijing"),
        ("oss", "https://notes.oss-cn-beijing-internal.aliyuncs.com", "https://s3.oss-cn-beijing-internal.aliyuncs.com",
         "cn-beijing"),
        ("obs", "https://obs.cn-north-4.myhuaweicloud.com", "https://obs.cn-north-4.myhuaweicloud.com", "cn-north-4"),
        ("cos", "https://notes.cos.ap-beijing.myqcloud.com", "https://cos.ap-beijing.myqcloud.com", "ap-beijing"),
        ("s3", "https://s3.us-west-004.backblazeb2.com", "https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("s3", "https://s3.eu-central-1.wasabisys.com", "https://s3.eu-central-1.wasabisys.com", "eu-central-1"),
        ("s3", "https://abc.r2.cloudflarestorage.com", "https://abc.r2.cloudflarestorage.com", "auto"),
        ("s3", "http://127.0.0.1:9000", "http://127.0.0.1:9000", "us-east-1"),
        ("s3", None, None, None),
    ],
)  # fmt: skip
def test_endpoints_and_regions(provider: str, endpoint: str | None, seen: str | None, region: str | None) -> None:
    from sync.stores.config import StoreConfig
    from sync.stores.places import configured_place

    config = StoreConfig(provider, "notes", "user", endpoint=endpoint)
    assert configured_place(config, profile_for(provider, endpoint)) == (seen, region)


def documents_policy(user: str) -> object:
    """The policy of the user's documents: three object actions on the folder, ListBucket with its prefix."""

    def allows(action: str, what: str) -> bool:
        if action in {"s3:PutObject", "s3:GetObject", "s3:DeleteObject"}:
            return what.startswith(f"{user}/")
        return action == "s3:ListBucket" and what.startswith(f"{user}/")

    return allows


def test_the_documents_policy_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(AWS, allows=documents_policy("alice")) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        store = S3Store(running.config("alice"), profile=AWS_PROFILE)
        put = store.put("a", b"x", meta={"mtime": "1"}, only_if=ABSENT)
        assert [info.key for info in store.list()] == ["a"]
        store.get("a", io.BytesIO(), if_version=put.version)
        store.put("a", b"y", meta={}, only_if=only_over(put.version))
        with pytest.raises(Denied):  # absence is hidden behind 403: that is not "not found"
            store.head("missing")
        with pytest.raises(Denied):
            store.get("missing", io.BytesIO())
        upload = store.start_upload("big", meta={})
        part = store.put_part("big", upload, 1, b"x")
        with pytest.raises(Denied):
            store.list_parts("big", upload)
        with pytest.raises(Denied):
            store.abort_upload("big", upload)
        store.finish_upload("big", upload, [part])
        store.delete("a")
        neighbour = S3Store(running.config("bob"), profile=AWS_PROFILE)
        with pytest.raises(Denied):
            list(neighbour.list())
        with pytest.raises(Denied):
            neighbour.put("a", b"", meta={})


def test_an_archived_object_is_named_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(OSS) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        store = S3Store(running.config("user"))
        store.put("old.bin", b"x", meta={})
        running.objects["user/old.bin"].storage_class = "GLACIER"
        with pytest.raises(Unsupported, match="archived") as caught:
            store.get("old.bin", io.BytesIO())
        assert "old.bin" in str(caught.value)
        assert [info.key for info in store.list()] == ["old.bin"]


def test_gzip_content_encoding_is_bytes_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(AWS) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        store = S3Store(running.config("user"))
        body = b"\x1f\x8b\x08 not really gzip"
        store.put("log.gz", body, meta={})
        running.objects["user/log.gz"].headers["Content-Encoding"] = "gzip"
        sink = io.BytesIO()
        store.get("log.gz", sink)
        assert sink.getvalue() == body


def test_a_session_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from sync.stores.secret import Secret

    with dialect_server(AWS, token="the-token") as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        config = running.config("user")
        with pytest.raises(Denied, match="expired"):
            S3Store(config).put("a", b"", meta={})
        store = S3Store(replace(config, credentials={**config.credentials, "token": Secret("the-token")}))
        store.put("a", b"", meta={})
        store.put("dir/", b"", meta={})
        with pytest.raises(NotFound):
            store.head("b")


THE_NOTEBOOKS_OWN = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_PROFILE": "no-such-profile",
    "AWS_ACCESS_KEY_ID": "notebook",
    "AWS_SECRET_ACCESS_KEY": "notebook",
    "AWS_SESSION_TOKEN": "notebook",
    "AWS_REGION": "xx-none-1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    "AWS_CONDITIONAL_PUT": "disabled",
    "AWS_REQUEST_PAYER": "true",
    "AWS_MAX_ATTEMPTS": "9",
    "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
    "AWS_SSE_KMS_KEY_ID": "notebook",
    "AWS_CHECKSUM_ALGORITHM": "CRC32",
    "AWS_DISABLE_TAGGING": "perhaps",
    "AWS_COPY_IF_NOT_EXISTS": "multipart",
}


@Name
def test_variables_of_another_cloud_change_nothing(server: DialectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """OSS as a mirror beside a MinIO: its bytes and keys must never go to the other's endpoint."""
    for name, value in THE_NOTEBOOKS_OWN.items():
        monkeypatch.setenv(name, value)
    store = S3Store(server.config("user"))
    store.put("a", b"x", meta={"mtime": "1"})
    store.put("dir/", b"", meta={})
    store.get("a", io.BytesIO())
    assert [info.key for info in store.list()] == ["a", "dir/"]
    for _, _, headers in server.requests:
        assert "x-amz-security-token" not in headers
        assert "x-amz-request-payer" not in headers
        assert not [name for name in headers if name.startswith(("x-amz-server-side", "x-amz-checksum"))]


def test_a_hundred_thousand_keys_are_listed_in_bounded_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(AWS) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        template = Stored(b"", {}, '"d41d8cd98f00b204e9800998ecf8427e"', datetime(2026, 1, 1, tzinfo=UTC))
        running.objects = {f"user/d{number % 100:02d}/f{number:06d}": template for number in range(100_000)}
        store = Retrying(S3Store(running.config("user")))
        assert sum(1 for _ in store.list()) == 100_000
        assert store.meter.requests() == {"list": 100}
