"""How OSS, OBS, COS and AWS differ, for the test server that plays them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """One provider's behaviour."""

    provider: str
    host: str  # of the endpoint that serves the bucket
    elsewhere: tuple[str, ...] = ()  # endpoints of the provider where the bucket does not live
    path_style: bool = False
    path_refusal: tuple[int, str] = (403, "SecondLevelDomainForbidden")
    s3_conditions: str = "yes"  # "yes", "ignored", "501"
    forbid_overwrite: str = ""  # header
    list_v2: bool = True
    encoding_breaks_marker: bool = False
    meta_without_underscore: bool = False
    region: str | None = None  # signatures must be for this one


OSS = Dialect(
    "oss",
    "s3.oss-cn-test.aliyuncs.com",
    elsewhere=("s3.oss-cn-hangzhou.aliyuncs.com", "oss-cn-hangzhou.aliyuncs.com"),
    s3_conditions="501",
    forbid_overwrite="x-oss-forbid-overwrite",
)
OBS = Dialect(
    "obs",
    "obs.cn-test-1.myhuaweicloud.com",
    path_refusal=(404, "NoSuchKey"),
    s3_conditions="ignored",
    list_v2=False,
    encoding_breaks_marker=True,
)
COS = Dialect(
    "cos",
    "cos.ap-test.myqcloud.com",
    elsewhere=("cos.ap-guangzhou.myqcloud.com",),
    path_refusal=(403, "PathStyleDomainForbidden"),
    s3_conditions="ignored",
    forbid_overwrite="x-cos-forbid-overwrite",
    list_v2=False,
    meta_without_underscore=True,
)
AWS = Dialect(
    "s3",
    "s3.eu-test-1.amazonaws.com",
    elsewhere=("s3.us-east-1.amazonaws.com", "s3.amazonaws.com"),
    path_style=True,
    region="eu-test-1",
)
VARIABLES = {
    "oss": (
        "ALIYUN_OSS_BUCKET_FOLDER",
        "ALIYUN_OSS_ACCESS_KEY_ID",
        "ALIYUN_OSS_ACCESS_KEY_SECRET",
        "ALIYUN_OSS_ENDPOINT",
    ),
    "obs": (
        "HUAWEI_OBS_BUCKET_FOLDER",
        "HUAWEI_OBS_ACCESS_KEY_ID",
        "HUAWEI_OBS_SECRET_ACCESS_KEY",
        "HUAWEI_OBS_ENDPOINT",
    ),
    "cos": ("TENCENT_COS_BUCKET_FOLDER", "TENCENT_COS_SECRET_ID", "TENCENT_COS_SECRET_KEY", "TENCENT_COS_ENDPOINT"),
    "s3": ("AWS_S3_BUCKET_FOLDER", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"),
}
DIALECTS = {dialect.provider: dialect for dialect in (OSS, OBS, COS, AWS)}
