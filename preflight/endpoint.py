"""Where a store's server is on the network: host, port and whether TLS is spoken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sync.stores.config import StoreConfig


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to connect to."""

    host: str
    port: int
    tls: bool

    @property
    def address(self) -> str:
        """For people: host:port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The root URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/"


def endpoint_of(config: StoreConfig) -> Endpoint | None:
    """The server behind a store; None for a folder on this machine, or where only the vendor's SDK knows it."""
    if config.provider == "file":
        return None
    url = config.endpoint or _public(config.provider, config.region)
    return parse(url) if url else None


def parse(url: str) -> Endpoint | None:
    """An endpoint from a URL or from host[:port] (then https)."""
    split = urlsplit(url if "://" in url else f"https://{url}")
    try:
        port = split.port
    except ValueError:
        return None
    if not split.hostname:
        return None
    tls = split.scheme != "http"
    return Endpoint(split.hostname, port or (443 if tls else 80), tls)


def _public(provider: str, region: str | None) -> str | None:
    """The provider's documented public endpoint."""
    match provider:
        case "gcs":
            return "https://storage.googleapis.com"
        case "oss":
            return f"https://oss-{region}.aliyuncs.com" if region else None
        case "cos":
            return f"https://cos.{region}.myqcloud.com" if region else None
        case "obs":
            return f"https://obs.{region}.myhuaweicloud.com" if region else None
        case "azure":
            return None
    return f"https://s3.{region or 'us-east-1'}.amazonaws.com"
