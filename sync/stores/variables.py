"""The environment variables of each cloud, read into a `StoreConfig` (pure: no network, no clock)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sync.errors import BadSettings
from sync.packed import unpack
from sync.stores.config import StoreConfig, clean_prefix, file_config
from sync.stores.secret import Secret

ALLOW_ROOT = "PREFLIGHT_ALLOW_BUCKET_ROOT"


class Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """The value without surrounding white space and without the quotes that `docker --env` keeps."""
        value = self.environ.get(name, "").strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1].strip()
        return value

    def secret(self, name: str) -> Secret | None:
        """The credential of `name`, of its packed form `<name>_B64GZ`, or of the file `<name>_FILE` points to."""
        file = self.text(f"{name}_FILE")
        secret = Secret(self.text(name) or self._packed(name), Path(file) if file else None)
        if file and not secret:
            self.problems.append(f"{name}_FILE points to {file}, which cannot be read or is empty")
        return secret if secret else None

    def _packed(self, name: str) -> str:
        try:
            return unpack(name, self.environ) or ""
        except BadSettings as error:
            self.problems.extend(error.problems)
            return ""

    def secrets(self, place: str, names: Mapping[str, str], *, optional: tuple[str, ...] = ()) -> dict[str, Secret]:
        """The credentials by role; a missing one is a problem as soon as `place` or another of them is set."""
        found = {role: secret for role, name in names.items() if (secret := self.secret(name)) is not None}
        required = [name for role, name in names.items() if role not in optional]
        given = [name for role, name in names.items() if role in found]
        because = place if self.text(place) else (given[0] if given else "")
        if because:
            for role, name in names.items():
                wanted = name in required and role not in found
                if wanted and not any(name in problem for problem in self.problems):
                    self.problems.append(f"{name} is not set, but {because} is: set both, or neither")
        return found

    def url(self, name: str) -> str | None:
        """An endpoint as a URL with a scheme (https unless it says http), or None when unset."""
        value = self.text(name)
        if not value:
            return None
        url = value if "://" in value else f"https://{value}"
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            self.problems.append(f"{name} is not a plain http(s) URL")
            return None
        return url.rstrip("/")

    def place(self, name: str, value: str, *, root_is_fine: bool = False) -> tuple[str, str] | None:
        """`bucket/folder` (with or without a scheme) split into bucket and prefix, or None after a problem."""
        bare = value.split("://", 1)[-1].lstrip("/")
        bucket, _, rest = bare.partition("/")
        prefix = clean_prefix(rest)
        if not bucket or any(char.isspace() or char in "?#@:" for char in bucket):
            self.problems.append(f"{name} does not name a bucket: expected bucket/folder")
            return None
        if prefix is None:
            self.problems.append(f"{name} has a folder that cannot be used: no '.', '..', '.preflight', '//' in it")
            return None
        if not prefix and not root_is_fine and self.text(ALLOW_ROOT) != "1":
            self.problems.append(
                f"{name} names the bucket {bucket!r} without a folder: add /folder, or set {ALLOW_ROOT}=1 "
                "if the whole bucket is meant"
            )
            return None
        return bucket, prefix


def aws(reader: Reader, *, place: str = "AWS_S3_BUCKET_FOLDER") -> StoreConfig | None:
    """AWS S3 and whatever AWS_ENDPOINT_URL points to."""
    names = {"id": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
    value = reader.text(place)
    credentials = reader.secrets(place, names, optional=("token",))
    if not value:
        return None
    if "://" in value and urlsplit(value).scheme not in {"s3", "s3a"}:
        reader.problems.append(f"{place} has an unknown scheme: expected bucket/folder or s3://bucket/folder")
        return None
    expires = reader.secret("AWS_CREDENTIAL_EXPIRATION")
    if expires is not None:
        credentials["expires"] = expires
    endpoint = reader.url("AWS_ENDPOINT_URL") or reader.url("AWS_ENDPOINT_URL_S3")
    where = reader.place(place, value)
    if where is None:
        return None
    region = reader.text("AWS_REGION") or reader.text("AWS_DEFAULT_REGION") or None
    variables = {**names, "place": place, "endpoint": "AWS_ENDPOINT_URL", "region": "AWS_REGION"}
    return StoreConfig("s3", *where, endpoint=endpoint, region=region, credentials=credentials, variables=variables)


def azure(reader: Reader, *, place: str = "AZURE_CONTAINER_URL") -> StoreConfig | None:
    """Azure Blob by container URL and SAS. The container is what the user was given: no folder is needed in it."""
    names = {"sas": "AZURE_BLOB_SAS_TOKEN"}
    value = reader.text(place)
    if value.startswith("azure://"):
        account, _, rest = value.removeprefix("azure://").partition("/")
        value = f"https://{account}.blob.core.windows.net/{rest}"
    parts = urlsplit(value)
    if parts.query:  # the portal's "Blob SAS URL" carries the token in its query
        credentials = {"sas": reader.secret("AZURE_BLOB_SAS_TOKEN") or Secret(parts.query)}
    else:
        credentials = reader.secrets(place, names)
    if not value:
        if credentials:
            reader.problems.append(f"{place} is not set, but AZURE_BLOB_SAS_TOKEN is: set both, or neither")
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        reader.problems.append(
            f"{place} is not a container URL: expected https://ACCOUNT.blob.core.windows.net/CONTAINER"
        )
        return None
    path = unquote(parts.path).strip("/")
    endpoint = f"{parts.scheme}://{parts.netloc}"
    if not _is_named_host(parts.hostname):  # emulators carry the account in the path
        account, _, path = path.partition("/")
        endpoint = f"{endpoint}/{account}"
    where = reader.place(place, path, root_is_fine=True)
    if where is None:
        return None
    return StoreConfig(
        "azure",
        *where,
        endpoint=endpoint,
        credentials=credentials,
        variables={**names, "place": place, "endpoint": place},
    )


def gcs(reader: Reader, *, place: str = "GOOGLE_BUCKET_FOLDER") -> StoreConfig | None:
    """Google Cloud Storage; the service account's JSON is given as content, or as a path to it."""
    names = {"json": "GOOGLE_APPLICATION_CREDENTIALS"}
    value = reader.text(place)
    if not value:
        return None  # GOOGLE_APPLICATION_CREDENTIALS alone serves other tools
    emulator = reader.url("STORAGE_EMULATOR_HOST")
    credentials = _service_account(reader, names["json"], needed=emulator is None)
    where = reader.place(place, value)
    if where is None:
        return None
    return StoreConfig(
        "gcs",
        *where,
        endpoint=emulator,
        project=reader.text("GOOGLE_PROJECT_ID") or None,
        credentials=credentials,
        variables={**names, "place": place, "endpoint": "STORAGE_EMULATOR_HOST", "project": "GOOGLE_PROJECT_ID"},
    )


def _service_account(reader: Reader, name: str, *, needed: bool) -> dict[str, Secret]:
    value = reader.text(name)
    secret = reader.secret(name)
    if value and not value.startswith("{") and not reader.text(f"{name}_FILE"):
        secret = Secret("", Path(value))  # a path: renewing the file renews the credential
        if not secret:
            reader.problems.append(f"{name} is neither JSON nor the path of a readable file")
            return {}
    if secret is None:
        if needed and not any(name in problem for problem in reader.problems):
            reader.problems.append(f"{name} is not set: give the service account's JSON, or the path of it")
        return {}
    try:
        kind = json.loads(secret.reveal()).get("type")
    except (ValueError, AttributeError):
        kind = None
    if kind is None:
        reader.problems.append(f"{name} is not a service account's JSON (was it quoted as a whole?)")
    return {"json": secret}


def oss(reader: Reader, *, place: str = "ALIYUN_OSS_BUCKET_FOLDER") -> StoreConfig | None:
    """Aliyun OSS through its S3-compatible endpoint."""
    names = {
        "id": "ALIYUN_OSS_ACCESS_KEY_ID",
        "secret": "ALIYUN_OSS_ACCESS_KEY_SECRET",
        "token": "ALIYUN_OSS_SECURITY_TOKEN",
    }
    return _native(reader, "oss", place, names, "ALIYUN_OSS_ENDPOINT", "ALIYUN_OSS_REGION")


def obs(reader: Reader, *, place: str = "HUAWEI_OBS_BUCKET_FOLDER") -> StoreConfig | None:
    """Huawei OBS."""
    names = {
        "id": "HUAWEI_OBS_ACCESS_KEY_ID",
        "secret": "HUAWEI_OBS_SECRET_ACCESS_KEY",
        "token": "HUAWEI_OBS_SECURITY_TOKEN",
    }
    config = _native(reader, "obs", place, names, "HUAWEI_OBS_ENDPOINT", "HUAWEI_OBS_REGION")
    if config is not None and config.endpoint is None and config.region is None:
        reader.problems.append(
            f"HUAWEI_OBS_ENDPOINT is not set, but {place} is: for example https://obs.cn-north-4.myhuaweicloud.com"
        )
    return config


def cos(reader: Reader, *, place: str = "TENCENT_COS_BUCKET_FOLDER") -> StoreConfig | None:
    """Tencent COS; the bucket's name ends with -APPID."""
    names = {
        "id": "TENCENT_COS_SECRET_ID",
        "secret": "TENCENT_COS_SECRET_KEY",
        "token": "TENCENT_COS_SESSION_TOKEN",
    }
    config = _native(reader, "cos", place, names, "TENCENT_COS_ENDPOINT", "TENCENT_COS_REGION")
    if config is not None and not config.bucket.rpartition("-")[2].isdigit():
        reader.problems.append(f"{place}: a COS bucket's name ends with its APPID, as in notebooks-1250000000")
    return config


def _native(
    reader: Reader, provider: str, place: str, names: Mapping[str, str], endpoint: str, region: str
) -> StoreConfig | None:
    value = reader.text(place)
    credentials = reader.secrets(place, names, optional=("token",))
    if not value:
        if credentials:
            first = next(name for role, name in names.items() if role in credentials)
            reader.problems.append(f"{place} is not set, but {first} is: set both, or neither")
        return None
    url = reader.url(endpoint)
    where = reader.place(place, value)
    if where is None:
        return None
    return StoreConfig(
        provider,
        *where,
        endpoint=url,
        region=reader.text(region) or None,
        credentials=credentials,
        variables={**names, "place": place, "endpoint": endpoint, "region": region},
    )


def from_url(reader: Reader) -> StoreConfig | None:
    """The store of PREFLIGHT_STORE, with the credentials of its cloud's variables."""
    name = "PREFLIGHT_STORE"
    value = reader.text(name)
    scheme, mark, rest = value.partition("://")
    if not mark:
        reader.problems.append(f"{name} is not a URL: expected one of {', '.join(s + '://' for s in BY_SCHEME)}file://")
        return None
    if scheme == "file":
        path = unquote(urlsplit(value).path)
        if urlsplit(value).netloc not in {"", "localhost"} or not path.startswith("/") or path == "/":
            reader.problems.append(f"{name} needs an absolute folder: file:///path/to/folder")
            return None
        return file_config(Path(path))
    if scheme in {"http", "https"} and ".blob.core." in rest.split("/", 1)[0]:
        scheme = "azure"
    read = BY_SCHEME.get(scheme)
    if read is None:
        known = ", ".join(f"{known}://" for known in ("file", *BY_SCHEME))
        reader.problems.append(f"{name} has the unknown scheme {scheme!r}: expected one of {known}")
        return None
    return read(reader, place=name)


def _is_named_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host
    return False


CLOUDS = (aws, azure, gcs, oss, obs, cos)
BY_SCHEME = {"s3": aws, "azure": azure, "gs": gcs, "oss": oss, "obs": obs, "cos": cos}


def store_configs(environ: Mapping[str, str]) -> tuple[StoreConfig, ...]:
    """The primary store, then the mirrors; empty when nothing is configured.

    Raises BadSettings with every problem at once, each naming its variable.
    """
    reader = Reader(environ)
    if reader.text("PREFLIGHT_STORE"):
        found = [from_url(reader)]
    else:
        found = [read(reader) for read in CLOUDS]
    if reader.problems:
        raise BadSettings(reader.problems)
    return tuple(config for config in found if config is not None)
