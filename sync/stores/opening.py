"""From a configuration to a store: the only place that knows which file serves which provider."""

from __future__ import annotations

from pathlib import Path

from sync.errors import Misconfigured
from sync.stores import Meter, Store
from sync.stores.config import NATIVE_S3, StoreConfig
from sync.stores.renewing import Renewing, is_renewable


def open_store(config: StoreConfig, *, meter: Meter | None = None) -> Store:
    """A store for `config`. Sends nothing: the first request is the first to learn that a bucket is missing.

    With a `<VARIABLE>_FILE` among its credentials the store follows that file's content.
    Vendor libraries are imported here and only for the provider in use (Azure's and Google's cost tens of MB).
    Raises Misconfigured for a provider that nobody serves.
    """
    meter = meter or Meter()
    if is_renewable(config):
        return Renewing(config, lambda: _open(config, meter))
    return _open(config, meter)


def _open(config: StoreConfig, meter: Meter) -> Store:
    if config.provider == "file":
        from sync.stores.file import FileStore

        return FileStore(Path(config.bucket), meter=meter)
    if config.provider in {"s3", *NATIVE_S3}:
        from sync.stores.s3 import S3Store

        return S3Store(config, meter=meter)
    if config.provider == "azure":
        from sync.stores.azure import AzureStore

        return AzureStore(config, meter=meter)
    if config.provider == "gcs":
        from sync.stores.gcs import GcsStore

        return GcsStore(config, meter=meter)
    raise Misconfigured(f"no store serves the provider {config.provider!r}", where=config.url)
