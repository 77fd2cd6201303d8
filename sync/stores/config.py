"""Which stores the environment names: parsed and checked without touching the network.

Every problem is collected and names its variable, so that one look at the log tells all that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from urllib.parse import quote

from sync.stores.secret import Secret

SCHEMES = {"azure": "azure", "gcs": "gs", "oss": "oss", "obs": "obs", "cos": "cos"}  # all others are s3
NATIVE_S3 = ("oss", "obs", "cos")  # speak S3 with their own addressing and conditions


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One configured bucket prefix. Holds no connection; `opening.open_store` makes one of it."""

    provider: str  # "file", "s3" (AWS and everything behind AWS_ENDPOINT_URL), "azure", "gcs", "oss", "obs", "cos"
    bucket: str  # bucket or container; for "file" the absolute folder
    prefix: str = ""  # without slashes at its ends; "" is the root of the bucket
    endpoint: str | None = None  # URL; for Azure the account's (container and SAS not included)
    region: str | None = None
    project: str | None = None  # GCS only
    credentials: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}))
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # role -> variable name

    @property
    def url(self) -> str:
        """For people and journals: scheme, place and prefix, never a credential."""
        if self.provider == "file":
            return "file://" + quote(self.bucket)
        scheme = SCHEMES.get(self.provider, "s3")
        place = self.bucket
        if self.provider == "azure":
            host = (self.endpoint or "").split("://", 1)[-1].strip("/")
            account = host.rsplit("/", 1)[-1] if "/" in host else host.split(".", 1)[0]
            place = f"{account}/{self.bucket}"
        return f"{scheme}://{place}/{self.prefix}" if self.prefix else f"{scheme}://{place}"

    @property
    def variable(self) -> str:
        """The variable that named this store."""
        return self.variables.get("place", "PREFLIGHT_STORE")

    def variable_of(self, role: str) -> str:
        """The variable that carries `role` ("id", "secret", "token", "sas", "json", "endpoint", "region")."""
        return self.variables.get(role, self.variable)

    def secret(self, role: str) -> str:
        """A credential as of now ("" when not configured)."""
        found = self.credentials.get(role)
        return found.reveal() if found is not None else ""


def file_config(folder: Path) -> StoreConfig:
    """A store in a local folder."""
    return StoreConfig(provider="file", bucket=str(folder.absolute()))


def clean_prefix(text: str) -> str | None:
    """`text` without surrounding slashes, or None when it could leave the bucket or hit our own names."""
    prefix = text.strip("/")
    parts = PurePosixPath(prefix).parts
    if prefix and ("//" in prefix or any(part in {".", "..", ".preflight"} for part in prefix.split("/")) or not parts):
        return None
    return None if any(ord(char) < 32 for char in prefix) else prefix
