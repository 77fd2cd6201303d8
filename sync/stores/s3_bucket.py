"""What every request to an S3 bucket needs: its wire, its keys, its conditions, its errors in our words."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from types import TracebackType

from sync.clock import Clock, SystemClock
from sync.errors import Corrupt, Misconfigured, NotFound, PreconditionFailed, SyncError, Transient, Unsupported
from sync.stores import ANY, Meter, Precondition, StoreFacts, Writes
from sync.stores.config import StoreConfig
from sync.stores.exact import ExactNames, is_odd, unspeakable
from sync.stores.network import Timeouts
from sync.stores.places import configured_place, discovered_place
from sync.stores.profiles import Profile, profile_for
from sync.stores.s3_answers import Page, page
from sync.stores.s3_errors import translated
from sync.stores.s3_signing import Keys
from sync.stores.s3_wire import Wire

MAX_KEY_BYTES = 1024
MD5 = re.compile("[0-9a-f]{32}")
NO_TEXT = re.compile("[\ud800-\udfff\0]")
HINT_404 = "check the endpoint: some providers want https://bucket.endpoint, not https://endpoint/bucket"


class S3Bucket:
    """One bucket prefix on a server that speaks S3."""

    page_keys = 1000  # what one listing request asks for, and the most that servers give

    def __init__(
        self,
        config: StoreConfig,
        *,
        meter: Meter | None = None,
        profile: Profile | None = None,
        times: Timeouts | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.profile = profile or profile_for(config.provider, config.endpoint)
        self.facts: StoreFacts = self.profile.facts()
        self.meter = meter or Meter()
        self.url = config.url
        self.config = config
        self._times = times or Timeouts()
        self._clock = clock or SystemClock()
        self._above = f"{config.prefix}/" if config.prefix else ""
        self._lock = Lock()
        self._made: Wire | None = None
        self._place: tuple[str | None, str] | None = None  # endpoint and region once known
        self._answered = False
        self._names = ExactNames(
            exact=self.profile.exact_keys, put=self._put_name, names=self._list_names, delete=self._delete_name
        )

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    @property
    def _wire(self) -> Wire:
        with self._lock:
            if self._made is None:
                endpoint, region = self._place or configured_place(self.config, self.profile)
                if region is None:
                    endpoint, region = discovered_place(self.config, self.profile)
                self._place = (endpoint, region)
                self._made = self._connected(endpoint, region)
            return self._made

    def _connected(self, endpoint: str | None, region: str) -> Wire:
        """Requests to the bucket at `endpoint` (None: Amazon's own) in `region`.

        No variable of the cloud's tools is read from the environment: those belong to the notebook.
        """
        # Amazon's certificate covers no further dots.
        has_host = self.profile.virtual_host and not ("." in self.config.bucket and self.profile.name == "aws")
        if endpoint is None:
            endpoint = f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
        secret = self.config.secret
        keys = Keys(secret("id"), secret("secret"), secret("token"))
        return Wire(
            endpoint,
            self.config.bucket,
            virtual_host=has_host,
            region=region,
            keys=keys,
            times=self._times,
            clock=self._clock,
        )

    def _look_elsewhere(self) -> bool:
        """After an answer that the bucket is in another place: whether the provider names one we have not tried."""
        if self.profile.discovery_host is None or self.config.endpoint is not None:
            return False
        place = discovered_place(self.config, self.profile)
        if place == self._place:
            return False
        with self._lock:
            self._place, self._made = place, None
        return True

    def _asking(
        self, verb: str, key: str, *, if_version: str | None = None, upload: bool = False, is_counted: bool = False
    ) -> _Asked:
        """Count one request, which is sent inside, and translate its errors. `is_counted`: it was sent before."""
        if not is_counted:
            self.meter.count(verb)
        return _Asked(self, verb, key, if_version=if_version, upload=upload)

    def _meant(self, error: SyncError, verb: str, key: str, *, if_version: str | None, upload: bool) -> SyncError:
        """What an answer that is no success means for this request."""
        if isinstance(error, NotFound):
            self._answered = True
            if if_version is not None and not upload:  # AWS answers 404 when If-Match's object is gone
                return PreconditionFailed("the object is gone", where=key)
            if verb in {"put", "start"} and is_odd(key):
                return Unsupported("this server cannot store this name", where=key)
            if verb in {"put", "start"}:  # OBS answers this to path-style writes, while HeadBucket is content
                return Misconfigured("the server takes no writes here", where=self.url, hint=HINT_404)
        if isinstance(error, Misconfigured) and "elsewhere" in error.what and self._look_elsewhere():
            return Transient(f"the bucket is in {self._place}: asking there", where=key)
        return error

    def _conditions(self, key: str, only_if: Precondition) -> dict[str, str]:
        """The precondition as headers. Raises Unsupported if this provider has none for it."""
        if only_if == ANY:
            return {}
        if self.facts.writes is Writes.FULL:
            return {"if-none-match": "*"} if only_if.if_absent else {"if-match": only_if.if_version or ""}
        if only_if.if_absent and self.facts.writes is Writes.CREATE_ONLY:
            if self.profile.forbid_overwrite is not None:
                return {self.profile.forbid_overwrite: "true"}
            return {"if-none-match": "*"}
        raise Unsupported("this provider cannot write under this condition", where=key)

    def _full(self, key: str) -> str:
        full = self._above + key
        if not key or (len(full) > MAX_KEY_BYTES // 4 and len(full.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES):
            raise Unsupported(f"a key has 1 to {MAX_KEY_BYTES} bytes", where=key)
        if NO_TEXT.search(full):
            raise Unsupported("the key is not text", where=repr(key))
        return full

    def _full_for_writing(self, key: str) -> str:
        full = self._full(key)
        if not self.profile.url_encode and unspeakable(full):
            raise Unsupported("a listing of this bucket could not carry the name", where=key)
        self._names.check(full, key, lambda: f"{self._above}.preflight/probe/{secrets.token_hex(16)}/")
        return full

    def _put_name(self, name: str) -> None:
        with self._asking("put", name):
            self._wire.ask("PUT", name)

    def _list_names(self, folder: str) -> list[str]:
        with self._asking("list", folder):
            return [info.key for info in self._page(folder, "").objects]

    def _delete_name(self, name: str) -> None:
        with self._asking("delete", name):
            self._wire.ask("DELETE", name)

    def _page(self, prefix: str, marker: str, above: str = "") -> Page:
        """One page of the listing; keys without `above`."""
        version = self.profile.list_version
        query = {"prefix": prefix, "max-keys": str(self.page_keys)}
        if version == 2:
            query["list-type"] = "2"
        if self.profile.url_encode:
            query["encoding-type"] = "url"
        if marker:
            query["marker" if version == 1 else "continuation-token"] = marker
        return page(self._wire.ask("GET", "", query).body, above, version)

    def _md5_of(self, version: str) -> bytes | None:
        tag = version.strip('"')
        return bytes.fromhex(tag) if self.facts.etag_is_md5 and MD5.fullmatch(tag) else None

    def _explain_mismatch(self, key: str) -> None:
        """An ETag is no MD5 where a KMS key encrypts: learn that. Otherwise raise Corrupt."""
        with self._asking("head", key):
            answer = self._wire.ask("HEAD", self._full(key))
        if not encrypted(answer.headers):
            raise Corrupt("the server holds other bytes than were sent", where=key)
        self.facts = replace(self.facts, etag_is_md5=False)


class _Asked:
    """One request (a class of its own because a generator costs more than the signature)."""

    __slots__ = ("_bucket", "_if_version", "_key", "_upload", "_verb")

    def __init__(self, bucket: S3Bucket, verb: str, key: str, *, if_version: str | None, upload: bool) -> None:
        self._bucket, self._verb, self._key, self._if_version, self._upload = bucket, verb, key, if_version, upload

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        bucket = self._bucket
        if error is None:
            bucket._answered = True
            return
        known = translated(error, self._key, bucket.url, answered=bucket._answered)
        if known is not None:
            meant = bucket._meant(known, self._verb, self._key, if_version=self._if_version, upload=self._upload)
            if meant is not error:
                raise meant from error


def encrypted(headers: Mapping[str, str]) -> bool:
    """Whether the ETag says nothing of the content."""
    return (
        "kms" in headers.get("x-amz-server-side-encryption", "")
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )
