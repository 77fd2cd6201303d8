"""Every way to name a store, and every way to get it wrong: each problem names its variable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync.errors import BadSettings
from sync.stores.config import StoreConfig
from sync.stores.expiry import expires_at, expiry_warning
from sync.stores.secret import Secret
from sync.stores.variables import store_configs

AWS = {"AWS_S3_BUCKET_FOLDER": "notes/alice", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush"}
AZURE = {
    "AZURE_CONTAINER_URL": "https://acct.blob.core.windows.net/notes",
    "AZURE_BLOB_SAS_TOKEN": "sv=2024-01-01&se=2026-11-23T00:00:00Z&sig=hush",
}
GCP = {"GOOGLE_BUCKET_FOLDER": "notes/alice", "GOOGLE_APPLICATION_CREDENTIALS": '{"type": "service_account"}'}
OSS = {
    "ALIYUN_OSS_BUCKET_FOLDER": "notes/alice",
    "ALIYUN_OSS_ACCESS_KEY_ID": "id",
    "ALIYUN_OSS_ACCESS_KEY_SECRET": "hush",
}
OBS = {
    "HUAWEI_OBS_BUCKET_FOLDER": "notes/alice",
    "HUAWEI_OBS_ACCESS_KEY_ID": "id",
    "HUAWEI_OBS_SECRET_ACCESS_KEY": "hush",
    "HUAWEI_OBS_ENDPOINT": "obs.cn-north-4.myhuaweicloud.com",
}
COS = {
    "TENCENT_COS_BUCKET_FOLDER": "notes-1250000000/alice",
    "TENCENT_COS_SECRET_ID": "id",
    "TENCENT_COS_SECRET_KEY": "hush",
    "TENCENT_COS_REGION": "ap-beijing",
}


def one(environ: dict[str, str]) -> StoreConfig:
    (config,) = store_configs(environ)
    return config


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        store_configs(environ)
    return caught.value.problems


def test_nothing_is_configured() -> None:
    assert store_configs({}) == ()
    assert store_configs({"AWS_REGION": "eu-west-1", "GOOGLE_APPLICATION_CREDENTIALS": "/x.json"}) == ()
    assert store_configs({"AWS_ACCESS_KEY_ID": "for the notebook", "AWS_SECRET_ACCESS_KEY": "x"}) == ()


@pytest.mark.parametrize(
    ("environ", "url", "provider"),
    [
        (AWS, "s3://notes/alice", "s3"),
        (AZURE, "azure://acct/notes", "azure"),
        (GCP, "gs://notes/alice", "gcs"),
        (OSS, "oss://notes/alice", "oss"),
        (OBS, "obs://notes/alice", "obs"),
        (COS, "cos://notes-1250000000/alice", "cos"),
        ({"PREFLIGHT_STORE": "file:///data/my%20bucket"}, "file:///data/my%20bucket", "file"),
        ({**AWS, "PREFLIGHT_STORE": "s3://other/bob/deep"}, "s3://other/bob/deep", "s3"),
        ({**AZURE, "PREFLIGHT_STORE": "azure://acct/other/bob"}, "azure://acct/other/bob", "azure"),
        ({**OSS, "PREFLIGHT_STORE": "oss://other/bob"}, "oss://other/bob", "oss"),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": "s3://notes/alice/"}, "s3://notes/alice", "s3"),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": " 'notes/alice' "}, "s3://notes/alice", "s3"),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": "notes", "PREFLIGHT_ALLOW_BUCKET_ROOT": "1"}, "s3://notes", "s3"),
        ({"AZURE_CONTAINER_URL": AZURE["AZURE_CONTAINER_URL"] + "/alice?" + AZURE["AZURE_BLOB_SAS_TOKEN"]},
         "azure://acct/notes/alice", "azure"),
        ({**AZURE, "AZURE_CONTAINER_URL": "http://127.0.0.1:10000/devstoreaccount1/notes"},
         "azure://devstoreaccount1/notes", "azure"),
    ],
)  # fmt: skip
def test_urls_name_the_place_and_no_secret(environ: dict[str, str], url: str, provider: str) -> None:
    config = one(environ)
    assert (config.url, config.provider) == (url, provider)
    assert "hush" not in repr(config)
    assert "hush" not in str(config)
    assert "hush" not in f"{config.credentials}"


def test_the_first_cloud_is_primary_and_the_rest_are_mirrors() -> None:
    configs = store_configs({**COS, **OBS, **OSS, **GCP, **AZURE, **AWS})
    assert [config.provider for config in configs] == ["s3", "azure", "gcs", "oss", "obs", "cos"]


def test_preflight_store_wins_alone() -> None:
    assert [config.url for config in store_configs({**AWS, **OSS, "PREFLIGHT_STORE": "file:///b"})] == ["file:///b"]


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"AWS_S3_BUCKET_FOLDER": "notes/alice"}, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
        ({"AWS_S3_BUCKET_FOLDER": "notes/alice", "AWS_ACCESS_KEY_ID": "x"}, ["AWS_SECRET_ACCESS_KEY"]),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": "notes"}, ["AWS_S3_BUCKET_FOLDER"]),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": "notes/../etc"}, ["AWS_S3_BUCKET_FOLDER"]),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": "notes/.preflight"}, ["AWS_S3_BUCKET_FOLDER"]),
        ({**AWS, "AWS_S3_BUCKET_FOLDER": "gs://notes/alice"}, ["AWS_S3_BUCKET_FOLDER"]),
        ({**AWS, "AWS_ENDPOINT_URL": "ftp://x"}, ["AWS_ENDPOINT_URL"]),
        ({"AZURE_BLOB_SAS_TOKEN": "sig"}, ["AZURE_CONTAINER_URL"]),
        ({"AZURE_CONTAINER_URL": AZURE["AZURE_CONTAINER_URL"]}, ["AZURE_BLOB_SAS_TOKEN"]),
        ({**AZURE, "AZURE_CONTAINER_URL": "acct/notes"}, ["AZURE_CONTAINER_URL"]),
        ({"GOOGLE_BUCKET_FOLDER": "notes/alice"}, ["GOOGLE_APPLICATION_CREDENTIALS"]),
        ({**GCP, "GOOGLE_APPLICATION_CREDENTIALS": "/no/such/file"}, ["GOOGLE_APPLICATION_CREDENTIALS"]),
        ({**GCP, "GOOGLE_APPLICATION_CREDENTIALS": "{broken"}, ["GOOGLE_APPLICATION_CREDENTIALS"]),
        ({"ALIYUN_OSS_ACCESS_KEY_ID": "x"}, ["ALIYUN_OSS_ACCESS_KEY_SECRET", "ALIYUN_OSS_BUCKET_FOLDER"]),
        ({**OBS, "HUAWEI_OBS_ENDPOINT": ""}, ["HUAWEI_OBS_ENDPOINT"]),
        ({**COS, "TENCENT_COS_BUCKET_FOLDER": "notes/alice"}, ["TENCENT_COS_BUCKET_FOLDER"]),
        ({"PREFLIGHT_STORE": "ftp://host/x"}, ["PREFLIGHT_STORE"]),
        ({"PREFLIGHT_STORE": "just-a-name"}, ["PREFLIGHT_STORE"]),
        ({"PREFLIGHT_STORE": "file://relative/x"}, ["PREFLIGHT_STORE"]),
        ({"AWS_S3_BUCKET_FOLDER": "notes", "COS": "", "TENCENT_COS_SECRET_ID": "x"},
         ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_S3_BUCKET_FOLDER", "TENCENT_COS_SECRET_KEY",
          "TENCENT_COS_BUCKET_FOLDER"]),
        ({**AWS, "AWS_SECRET_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY_FILE": "/no"}, ["AWS_SECRET_ACCESS_KEY_FILE"]),
    ],
)  # fmt: skip
def test_each_problem_names_its_variable(environ: dict[str, str], names: list[str]) -> None:
    found = problems(environ)
    assert [problem.split(" ")[0].rstrip(":") for problem in found] == names


def test_a_credential_may_come_from_a_file_and_be_renewed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    config = one({**AWS, "AWS_SECRET_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY_FILE": str(file)})
    assert config.secret("secret") == "first"
    file.write_text("second")
    assert config.secret("secret") == "second"
    file.unlink()
    assert config.secret("secret") == ""


def test_the_variable_serves_until_its_file_appears(tmp_path: Path) -> None:
    config = one({**AWS, "AWS_SESSION_TOKEN": "old", "AWS_SESSION_TOKEN_FILE": str(tmp_path / "later")})
    assert config.secret("token") == "old"
    (tmp_path / "later").write_text("new")
    assert config.secret("token") == "new"


def test_a_service_account_is_its_json_or_the_path_of_it(tmp_path: Path) -> None:
    text = json.dumps({"type": "service_account", "client_email": "x"})
    file = tmp_path / "key.json"
    file.write_text(text)
    assert one({**GCP, "GOOGLE_APPLICATION_CREDENTIALS": str(file)}).secret("json") == text
    assert one({**GCP, "GOOGLE_APPLICATION_CREDENTIALS": text}).secret("json") == text


def test_expiry_of_a_sas_and_of_a_session() -> None:
    assert expires_at(one(AZURE)) == 1795392000.0
    assert expires_at(one({**AWS, "AWS_CREDENTIAL_EXPIRATION": "2026-11-23T00:00:00+00:00"})) == 1795392000.0
    assert expires_at(one(AWS)) is None
    assert expires_at(one({**AZURE, "AZURE_BLOB_SAS_TOKEN": "?se=2026-11-23&sig=x"})) == 1795392000.0
    assert expires_at(one({**AZURE, "AZURE_BLOB_SAS_TOKEN": "se=soon&sig=x"})) is None


@pytest.mark.parametrize(
    ("before_s", "told"), [(25 * 3600.0, ""), (23 * 3600.0, "expires at 2026-11-23 00:00"), (-60.0, "expired")]
)
def test_a_warning_from_a_day_before(before_s: float, told: str) -> None:
    warning = expiry_warning(one(AZURE), 1795392000.0 - before_s)
    assert told in warning
    assert bool(warning) == bool(told)
    assert "AZURE_BLOB_SAS_TOKEN" in warning or not told
    assert "hush" not in warning


def test_a_secret_is_never_printed() -> None:
    secret = Secret("hush")
    assert "hush" not in f"{secret} {secret!r} {[secret]} {secret!s}"
    assert secret.reveal() == "hush"
