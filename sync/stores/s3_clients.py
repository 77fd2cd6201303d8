"""One bucket's two clients: boto3 for control, obstore for bytes; neither retries, neither reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from threading import Lock, local
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import botocore.session
from botocore import handlers
from botocore.config import Config
from botocore.utils import parse_timestamp
from obstore.store import S3Store as Bytes

from sync.stores.carrier import Timeouts, forget_strays
from sync.stores.config import StoreConfig
from sync.stores.profiles import Profile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTIONS = 64


class Clients:
    """Made for one set of credentials; renewing them makes a new one."""

    def __init__(
        self, config: StoreConfig, profile: Profile, endpoint: str | None, region: str, times: Timeouts
    ) -> None:
        if "." in config.bucket and profile.name == "aws":  # its certificate covers no further dots
            profile = replace(profile, virtual_host=False)
        self.control = _control(config, profile, endpoint, region, times)
        self.sending = _bytes(config, profile, endpoint, region, times, whole_s=times.send_s, each_read=False)
        self.reading = _bytes(config, profile, endpoint, region, times, whole_s=24 * 3600.0, each_read=True)
        self._headers = local()
        self.control.meta.events.register("before-call.s3", self._add_headers)
        if not profile.url_encode:
            for operation in ("ListObjects", "ListObjectsV2"):
                self.control.meta.events.unregister(
                    f"before-parameter-build.s3.{operation}", handlers.set_list_objects_encoding_type_url
                )

    def with_headers(self, headers: Mapping[str, str]) -> None:
        """Headers for this thread's next control requests; call with {} afterwards."""
        self._headers.extra = dict(headers)

    def _add_headers(self, params: dict[str, Any], **_: object) -> None:
        params["headers"].update(getattr(self._headers, "extra", {}))
        # botocore's own search for the bucket's region asks for ever when the server has no answer; ours does not.
        params["context"].setdefault("s3_redirect", {})["redirected"] = True

    def close(self) -> None:
        """Release the control client's connections (obstore's close with their last reference)."""
        self.control.close()


_making = Lock()  # making clients of one session is not thread-safe; using them is


@cache
def _session() -> botocore.session.Session:
    """One for all stores: it parses S3's API description, which takes 0.1 s."""
    # The user's AWS profile, config files and endpoint variables belong to the notebook, not to this store.
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    factory = session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=_timestamp)
    return session


def _timestamp(text: Any) -> datetime:
    """A server's date; dateutil's guessing costs most of a long listing's time."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)


def _control(config: StoreConfig, profile: Profile, endpoint: str | None, region: str, times: Timeouts) -> S3Client:
    with _making:
        client = _session().create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=config.secret("id"),
            aws_secret_access_key=config.secret("secret"),
            aws_session_token=config.secret("token") or None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "virtual" if profile.virtual_host else "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=times.connect_s,
                read_timeout=times.read_s,
                max_pool_connections=CONNECTIONS,
                tcp_keepalive=True,
                ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # the stubs do not know it yet
            ),
        )
    return cast("S3Client", client)


def _bytes(
    config: StoreConfig,
    profile: Profile,
    endpoint: str | None,
    region: str,
    times: Timeouts,
    *,
    whole_s: float,
    each_read: bool,
) -> Bytes:
    def credentials() -> dict[str, Any]:
        return {
            "access_key_id": config.secret("id"),
            "secret_access_key": config.secret("secret"),
            "token": config.secret("token") or None,
            "expires_at": None,
        }

    settings: dict[str, Any] = {
        "region": region,
        "virtual_hosted_style_request": profile.virtual_host,
        "skip_signature": False,
        "imdsv1_fallback": False,
        "request_payer": False,
        "unsigned_payload": False,
        "conditional_put": "etag",
        "s3_express": False,
    }
    if endpoint is None:
        endpoint = f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    # obstore wants the bucket inside the endpoint for virtual hosts. It also reads AWS_* variables, which belong to
    # another cloud or to the notebook: what is not said here would be taken from there (the second name wins there).
    parts = urlsplit(endpoint)
    address = f"{parts.scheme}://{config.bucket}.{parts.netloc}" if profile.virtual_host else endpoint
    settings["endpoint"] = settings["aws_endpoint_url_s3"] = address
    client: dict[str, Any] = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=times.connect_s),
        "timeout": timedelta(seconds=whole_s),
    }
    if each_read:
        client["read_timeout"] = timedelta(seconds=times.read_s)
    forget_strays()
    return Bytes(
        config.bucket,
        config=settings,  # type: ignore[arg-type]
        client_options=client,  # type: ignore[arg-type]
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=whole_s)},
        credential_provider=credentials,  # type: ignore[arg-type]
    )
