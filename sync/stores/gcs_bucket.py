"""What every request to a GCS bucket needs: its client, its credentials, its names, its errors in our words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from google.api_core import exceptions as api_errors
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.oauth2 import service_account

from sync.errors import Corrupt, Denied, Misconfigured, NotFound, PreconditionFailed, SyncError, Unsupported
from sync.stores import Meter
from sync.stores.answers import meaning, wrong_clock
from sync.stores.config import StoreConfig
from sync.stores.network import Timeouts, of_network

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"  # least: no bucket administration
MAX_NAME_BYTES = 1024


class GcsBucket:
    """Client, names and errors of one bucket."""

    def __init__(self, config: StoreConfig, *, meter: Meter | None = None, times: Timeouts | None = None) -> None:
        times = times or Timeouts()
        self._times_s = (times.connect_s, times.read_s)
        self.meter = meter or Meter()
        self.url = config.url
        self.config = config
        self._above = f"{config.prefix}/" if config.prefix else ""
        self._answered = False
        self._call: dict[str, Any] = {"timeout": self._times_s, "retry": None}
        options = {"api_endpoint": config.endpoint} if config.endpoint else None
        self._client = storage.Client(
            project=config.project or "unused", credentials=_credentials(config), client_options=options
        )
        adapter = requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=64, max_retries=0)
        if not config.secret("json"):
            self._client._http._refresh_status_codes = ()  # an emulator's 401 is no reason to renew nothing
        self._client._http.mount("https://", adapter)
        self._client._http.mount("http://", adapter)
        self._endpoint = (config.endpoint or "https://storage.googleapis.com").rstrip("/")
        self._bucket = self._client.bucket(config.bucket)

    def close(self) -> None:
        """Release connections."""
        self._client.close()

    def _full(self, key: str) -> str:
        full = self._above + key
        if not key or len(full.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            raise Unsupported(f"an object's name has 1 to {MAX_NAME_BYTES} bytes", where=key)
        if any("\ud800" <= char <= "\udfff" for char in full) or any(char in full for char in "\r\n\0"):
            raise Unsupported("GCS stores no names with line breaks", where=key)
        if full in {".", ".."} or full.startswith(".well-known/acme-challenge/"):
            raise Unsupported("GCS reserves this name", where=key)
        return full

    def _blob(self, key: str) -> Any:
        return self._bucket.blob(self._full(key))

    @contextmanager
    def _media(self, blob: Any, if_version: str | None, span: tuple[int, int] | None = None) -> Iterator[Any]:
        """The bytes of an object as one HTTP answer, with its metadata in the headers."""
        params = {"alt": "media"}
        if if_version is not None:
            params["ifGenerationMatch"] = if_version if if_version.isdigit() else "1"
        headers = {"Accept-Encoding": "gzip"}  # without it, gzip objects are unpacked on the way and their size lies
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        url = f"{self._endpoint}/download/storage/v1/b/{quote(self.config.bucket)}/o/{quote(blob.name, safe='')}"
        answer = self._client._http.get(url, params=params, headers=headers, stream=True, timeout=self._times_s)
        try:
            if answer.status_code >= 300:
                raise api_errors.from_http_response(answer)
            generation = answer.headers.get("x-goog-generation", "")
            if if_version is not None and generation != if_version:
                raise PreconditionFailed("the object is not the version that was named", where=blob.name)
            yield answer
        finally:
            answer.close()

    @contextmanager
    def _asking(
        self, verb: str, key: str, *, count: bool = True, if_version: str | None = None, gone: bool = True
    ) -> Iterator[None]:
        """Count one request and translate its errors. `gone`: a 404 under `if_version` is a failed comparison."""
        if count:
            self.meter.count(verb)
        try:
            yield
        except (api_errors.GoogleAPICallError, InvalidResponse) as error:
            self._answered = True
            ours = self._of_answer(error, verb, key)
            if isinstance(ours, NotFound) and if_version is not None and gone:
                raise PreconditionFailed("the object is gone", where=key) from error
            raise ours from error
        except DataCorruption as error:
            raise Corrupt("the server got other bytes than were sent", where=key) from error
        except auth_errors.GoogleAuthError as error:
            raise self._of_auth(error) from error
        except requests.exceptions.RequestException as error:
            raise of_network(error, key, self.url, self._answered) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise of_network(error, key, self.url, self._answered) from error
        self._answered = self._answered or count  # what is not counted was not sent

    def _of_answer(self, error: Exception, verb: str, key: str) -> SyncError:
        answer: Any = getattr(error, "response", None)
        status = int(getattr(error, "code", 0) or getattr(answer, "status_code", 0) or 0)
        text = str(getattr(answer, "text", "") or error)
        if status == 404 and ("bucket does not exist" in text or verb in {"list", "put", "start"}):
            return Misconfigured(
                "the bucket does not exist", where=self.url, hint=f"check {self.config.variable_of('place')}"
            )
        after = str(getattr(answer, "headers", {}).get("Retry-After", ""))
        return meaning(
            status,
            where=key,
            place=self.url,
            after_s=float(after) if after.isdigit() else None,
            said=_message(text),
        )

    def _of_auth(self, error: auth_errors.GoogleAuthError) -> SyncError:
        variable = self.config.variable_of("json")
        if isinstance(error, auth_errors.TransportError) or getattr(error, "retryable", False):
            return of_network(error, "", self.url, True)
        if "reasonable timeframe" in str(error):
            return wrong_clock(self.url)
        return Denied("Google does not accept the service account", where=self.url, hint=f"renew {variable}")


def _credentials(config: StoreConfig) -> Any:
    text = config.secret("json")
    if not text:
        return AnonymousCredentials()  # an emulator asks for none
    try:
        info = json.loads(text)
        return service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])
    except (ValueError, KeyError) as error:
        raise Misconfigured(f"{config.variable_of('json')} is not a service account's key", where=config.url) from error


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
