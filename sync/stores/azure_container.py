"""What every request to an Azure container needs: its clients, its names, its errors in our words."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from azure.core import exceptions as azure_errors
from azure.storage.blob import ContainerClient
from obstore import exceptions as obstore_errors
from obstore.store import AzureStore as Bytes

from sync.errors import Denied, NotFound, SyncError, Transient, Unsupported
from sync.stores import Meter, StoreFacts, Writes
from sync.stores.answers import meaning
from sync.stores.carrier import of_text
from sync.stores.config import StoreConfig
from sync.stores.exact import ExactNames, unspeakable
from sync.stores.network import Timeouts

MAX_NAME_CHARS = 1024


class AzureContainer:
    """Clients, names and errors of one container."""

    def __init__(self, config: StoreConfig, *, meter: Meter | None = None, times: Timeouts | None = None) -> None:
        times = times or Timeouts()
        # The SDK writes a line for each request; ours are counted in the meter instead.
        logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
        self.facts = StoreFacts(provider="azure", writes=Writes.FULL, max_put_bytes=4_000 * 1024**2)
        self.meter = meter or Meter()
        self.url = config.url
        self.config = config
        self._above = f"{config.prefix}/" if config.prefix else ""
        self._answered = False
        sas = config.secret("sas").lstrip("?")
        endpoint = config.endpoint or ""
        self._container = ContainerClient(
            endpoint,
            config.bucket,
            credential=sas,
            retry_total=0,
            connection_timeout=times.connect_s,
            read_timeout=times.read_s,
            max_single_put_size=64 * 1024 * 1024,
            max_block_size=8 * 1024 * 1024,
        )
        parts = urlsplit(endpoint)
        account = parts.path.strip("/") or (parts.hostname or "").split(".", 1)[0]
        self._reading = Bytes(
            config.bucket,
            config={  # all of it: what is not said here obstore takes from AZURE_* variables
                "account_name": account,
                "endpoint": endpoint,
                "skip_signature": False,
                "use_emulator": False,
                "use_fabric_endpoint": False,
            },
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=times.connect_s),
                "read_timeout": timedelta(seconds=times.read_s),
                "timeout": timedelta(days=1),
            },
            retry_config={"max_retries": 0, "retry_timeout": timedelta(days=1)},
            credential_provider=lambda: {"sas_token": sas, "expires_at": None},  # type: ignore[arg-type]
        )
        self._names = ExactNames(exact=None, put=self._put_name, names=self._list_names, delete=self._delete_name)

    def close(self) -> None:
        """Release connections."""
        self._container.close()

    @contextmanager
    def _asking(self, verb: str, key: str, *, count: bool = True) -> Iterator[None]:
        """Count one request and translate its errors."""
        if count:
            self.meter.count(verb)
        try:
            yield
        except azure_errors.HttpResponseError as error:
            self._answered = True
            raise of_response(error, key, self.url) from error
        except azure_errors.AzureError as error:
            inner = str(getattr(error, "inner_exception", ""))
            raise of_text(error, key, self.url, self._answered, more=inner) from error
        except (obstore_errors.BaseError, OSError) as error:
            raise of_text(error, key, self.url, self._answered) from error
        except ValueError as error:
            raise Unsupported("the request cannot be expressed", where=key) from error
        self._answered = self._answered or count  # what is not counted was not sent

    def _full(self, key: str) -> str:
        full = self._above + key
        if not key or len(full) > MAX_NAME_CHARS:
            raise Unsupported(f"a blob's name has 1 to {MAX_NAME_CHARS} characters", where=key)
        return full

    def _full_for_writing(self, key: str) -> str:
        """Raises Unsupported for names that the listing's XML could not say, or that would become other names."""
        full = self._full(key)
        if unspeakable(full):
            raise Unsupported("a listing of this container could not carry the name", where=key)
        self._names.check(full, key, lambda: f"{self._above}.preflight/probe/{secrets.token_hex(16)}/")
        return full

    def _put_name(self, name: str) -> None:
        with self._asking("put", name):
            self._container.get_blob_client(name).upload_blob(b"", overwrite=True)

    def _list_names(self, folder: str) -> list[str]:
        with self._asking("list", folder):
            return [blob.name for blob in self._container.list_blobs(name_starts_with=folder)]

    def _delete_name(self, name: str) -> None:
        with self._asking("delete", name):
            self._container.get_blob_client(name).delete_blob()


def of_response(error: azure_errors.HttpResponseError, key: str, place: str) -> SyncError:
    """By the status and code that the service sent."""
    code = getattr(error, "error_code", None) or ""
    code = str(getattr(code, "value", code))
    status = int(error.status_code or 0)
    if status == 0:
        return Transient(f"the answer could not be read: {type(error).__name__}", where=key)
    if code == "SnapshotsPresent":
        return Unsupported("the blob has snapshots, which we do not destroy", where=key)
    if code.startswith("LeaseIdMissing") or code == "LeaseIdMismatchWithBlobOperation":
        return Denied("somebody holds a lease on the blob", where=key, hint="break the lease in the portal")
    if code in {"InvalidBlockList", "InvalidBlobOrBlock"}:
        return NotFound("the upload's blocks are gone", where=key)
    headers: Any = getattr(error.response, "headers", {}) or {}
    after = str(headers.get("Retry-After", ""))
    return meaning(
        status,
        code,
        where=key,
        place=place,
        after_s=float(after) if after.isdigit() else None,
        said=str(getattr(error, "reason", "") or ""),
    )
