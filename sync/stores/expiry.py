"""When the configured credentials end, where they say so (pure)."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

from sync.stores.config import StoreConfig

WARN_BEFORE_S = 24 * 3600.0


def expires_at(config: StoreConfig) -> float | None:
    """Seconds since the epoch, or None when the credentials do not say.

    An Azure SAS carries `se`; a session token says nothing, but whoever issues one can set
    AWS_CREDENTIAL_EXPIRATION (the AWS CLI's `export-credentials` does).
    """
    if config.provider == "azure":
        stated = parse_qs(config.secret("sas").lstrip("?")).get("se", [""])[0]
        return _seconds(stated)
    return _seconds(config.secret("expires"))


def expiry_warning(config: StoreConfig, now_s: float) -> str:
    """One sentence when the credentials have ended or end within a day, else ""."""
    ends_s = expires_at(config)
    if ends_s is None or ends_s - now_s > WARN_BEFORE_S:
        return ""
    variable = config.variable_of("sas" if config.provider == "azure" else "token")
    when = datetime.fromtimestamp(ends_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if ends_s <= now_s:
        return f"the credential in {variable} expired at {when}: nothing can be saved until it is renewed"
    return f"the credential in {variable} expires at {when}: renew it, or put the new one into {variable}_FILE"


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
