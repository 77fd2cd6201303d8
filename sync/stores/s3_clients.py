"""One bucket's clients: our own wire for control and large bodies, obstore for small ones and for reading.

Neither retries, neither reads settings of the cloud from the environment: those belong to the notebook.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from obstore.store import S3Store as Bytes

from sync.clock import Clock
from sync.stores.carrier import Timeouts, forget_strays
from sync.stores.config import StoreConfig
from sync.stores.profiles import Profile
from sync.stores.s3_signing import Keys
from sync.stores.s3_wire import Wire


class Clients:
    """Made for one set of credentials; renewing them makes a new one."""

    def __init__(
        self, config: StoreConfig, profile: Profile, endpoint: str | None, region: str, times: Timeouts, clock: Clock
    ) -> None:
        if "." in config.bucket and profile.name == "aws":  # its certificate covers no further dots
            profile = replace(profile, virtual_host=False)
        if endpoint is None:
            endpoint = f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
        keys = Keys(config.secret("id"), config.secret("secret"), config.secret("token"))
        self.wire = Wire(
            endpoint,
            config.bucket,
            virtual_host=profile.virtual_host,
            region=region,
            keys=keys,
            times=times,
            clock=clock,
        )
        self.sending = _bytes(config, profile, endpoint, region, times, whole_s=times.send_s, each_read=False)
        self.reading = _bytes(config, profile, endpoint, region, times, whole_s=24 * 3600.0, each_read=True)

    def close(self) -> None:
        """Release the wire's connections (obstore's close with their last reference)."""
        self.wire.close()


def _bytes(
    config: StoreConfig,
    profile: Profile,
    endpoint: str,
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
