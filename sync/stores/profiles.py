"""How the S3-speaking providers really differ: one row each. A new provider is one row here.

Sources: the providers' public documentation and issue threads; what was seen against a live or local server says so
in docs/clouds/README.md. The capability probe (`probe.py`) corrects a row that is wrong for a given bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sync.stores import StoreFacts, Writes


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider's dialect of S3."""

    name: str
    hosts: tuple[str, ...] = ()  # endpoint hosts end with one of these
    endpoint: str | None = None  # when none is configured; {region} is filled in
    region: str | None = None  # signing region when none is configured
    region_in_host: str = ""  # pattern whose first group is the region in an endpoint's host
    discovery_host: str | None = None  # where an unsigned request learns the bucket's region
    virtual_host: bool = False
    writes: Writes = Writes.FULL
    delete_if_match: bool = True
    copy: bool = True
    copy_if: bool = False  # conditions on the target of a copy
    etag_is_md5: bool = False  # single-part, unless the bucket encrypts with a KMS key
    list_version: int = 2
    url_encode: bool = True
    forbid_overwrite: str | None = None  # header that makes a put create-only where If-None-Match does not exist
    exact_keys: bool | None = None  # stores `a//b`, `/a`, `a\\b` as they are; None: ask the server before the first one

    def facts(self) -> StoreFacts:
        """What to believe of this provider until the probe has asked it."""
        return StoreFacts(
            provider=self.name,
            writes=self.writes,
            delete_if_match=self.delete_if_match,
            copy=self.copy,
            etag_is_md5=self.etag_is_md5,
            lists_in_order=self.name not in {"s3"},
            together=True,
        )


AWS = Profile(
    "aws",
    (".amazonaws.com", ".amazonaws.com.cn"),
    region_in_host=r"^s3[.-](?:dualstack\.)?([a-z]{2}-[a-z-]+-\d)\.",
    discovery_host="s3.amazonaws.com",
    virtual_host=True,
    copy_if=True,
    etag_is_md5=True,
    exact_keys=True,
)
GENERIC = Profile("s3", region="us-east-1")
PROFILES = (
    AWS,
    # R2: DELETE ignores If-Match; multipart ETags are random.
    Profile("r2", (".r2.cloudflarestorage.com",), region="auto", delete_if_match=False, etag_is_md5=True),
    # B2: conditional headers answer NotImplemented and fail the whole upload; every version is kept anyway.
    Profile(
        "b2",
        (".backblazeb2.com",),
        region="us-west-004",
        region_in_host=r"^s3\.([a-z]+-[a-z]+-\d+)\.",
        writes=Writes.NONE,
        delete_if_match=False,
        etag_is_md5=True,
    ),
    Profile(
        "wasabi",
        (".wasabisys.com",),
        region="us-east-1",
        region_in_host=r"^s3\.([a-z]+-[a-z]+-\d+)\.",
        writes=Writes.NONE,
        delete_if_match=False,
    ),
    # GCS interoperability: If-Match on PUT is silently ignored. The native store (GOOGLE_*) has all guarantees.
    Profile("gcs-xml", ("storage.googleapis.com",), region="auto", writes=Writes.NONE, delete_if_match=False),
    Profile("minio", ("minio",), region="us-east-1", etag_is_md5=True, exact_keys=False),
    Profile(
        "oss",
        (".aliyuncs.com",),
        endpoint="https://s3.oss-{region}.aliyuncs.com",
        region_in_host=r"oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs",
        discovery_host="oss-cn-hangzhou.aliyuncs.com",
        virtual_host=True,
        writes=Writes.CREATE_ONLY,
        delete_if_match=False,
        etag_is_md5=True,
        forbid_overwrite="x-oss-forbid-overwrite",
    ),
    Profile(
        "obs",
        (".myhuaweicloud.com", ".myhuaweicloud.eu"),
        endpoint="https://obs.{region}.myhuaweicloud.com",
        region_in_host=r"^obs\.([a-z0-9-]+)\.",
        virtual_host=True,
        writes=Writes.NONE,
        delete_if_match=False,
        etag_is_md5=True,
        list_version=1,
        url_encode=False,
    ),
    Profile(
        "cos",
        (".myqcloud.com", ".tencentcos.cn"),
        endpoint="https://cos.{region}.myqcloud.com",
        region_in_host=r"^cos\.([a-z0-9-]+)\.",
        discovery_host="cos.ap-guangzhou.myqcloud.com",
        virtual_host=True,
        writes=Writes.CREATE_ONLY,
        delete_if_match=False,
        etag_is_md5=True,
        list_version=1,
        forbid_overwrite="x-cos-forbid-overwrite",
    ),
    GENERIC,
)
BY_NAME = {profile.name: profile for profile in PROFILES}


def profile_for(provider: str, endpoint: str | None) -> Profile:
    """The row of `provider`; for plain "s3" the row that the endpoint's host belongs to."""
    if provider != "s3":
        return BY_NAME[provider]
    if endpoint is None:
        return AWS
    host = (urlsplit(endpoint).hostname or "").lower()
    for profile in PROFILES:
        if any(host.endswith(suffix) or (suffix == "minio" and "minio" in host) for suffix in profile.hosts):
            return profile
    return GENERIC
