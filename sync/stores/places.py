"""Where a bucket is: endpoint and region from what is configured (pure), else by asking the provider once."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from urllib3.exceptions import HTTPError

from sync.errors import Misconfigured, Transient
from sync.stores.config import StoreConfig
from sync.stores.exchange import Origin
from sync.stores.network import Timeouts
from sync.stores.profiles import Profile

TIMES = Timeouts(connect_s=5.0, read_s=10.0)
ENDPOINT = re.compile(r"<Endpoint>\s*([A-Za-z0-9.:/-]+)\s*</Endpoint>")


def configured_place(config: StoreConfig, profile: Profile) -> tuple[str | None, str | None]:
    """Endpoint URL and signing region as far as the configuration tells; None where it does not."""
    endpoint = config.endpoint
    region = config.region
    if endpoint is not None:
        parts = urlsplit(endpoint)
        host = parts.netloc.removeprefix(f"{config.bucket}.")  # consoles show the endpoint with the bucket in it
        if profile.name == "oss" and host.startswith("oss-"):
            host = f"s3.{host}"
        endpoint = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        found = re.search(profile.region_in_host, host) if profile.region_in_host else None
        region = region or (found[1] if found else None)
    elif profile.endpoint is not None and region is not None:
        endpoint = profile.endpoint.format(region=region.removeprefix("oss-"))
    return endpoint, region or profile.region


def discovered_place(config: StoreConfig, profile: Profile) -> tuple[str | None, str]:
    """Endpoint and region by one unsigned request; the answer names them even when it refuses.

    Raises Misconfigured when the provider does not tell, Transient when it does not answer.
    """
    if profile.discovery_host is None:
        raise Misconfigured(
            "neither endpoint nor region is configured",
            where=config.url,
            hint=f"set {config.variable_of('endpoint')} or {config.variable_of('region')}",
        )
    template = profile.endpoint or "https://{region}"
    scheme = template.split("://", 1)[0]
    url = f"{scheme}://{config.bucket}.{profile.discovery_host}/"
    if "." in config.bucket and profile.name == "aws":  # its certificate covers no further dots
        url = f"{scheme}://{profile.discovery_host}/{config.bucket}"
    host, path = urlsplit(url).netloc, urlsplit(url).path
    origin = Origin(scheme, host, TIMES)
    try:
        with origin.exchange("GET", f"{path}?max-keys=1", {"host": host}) as answer:
            region = answer.headers.get("x-amz-bucket-region")
            said = answer.read().decode("utf-8", "replace")
    except (HTTPError, OSError) as error:
        raise Transient("the bucket's region could not be asked for", where=config.url) from error
    finally:
        origin.close()
    if region:
        return profile.endpoint.format(region=region) if profile.endpoint else None, region
    if "NoSuchBucket" in said:
        raise Misconfigured("the bucket does not exist", where=config.url, hint=f"check {config.variable_of('place')}")
    if profile.name == "aws":
        raise Transient("the bucket's region could not be asked for", where=config.url)
    named = ENDPOINT.search(said)
    host = named[1].split("://")[-1].strip("/") if named else profile.discovery_host
    found = re.search(profile.region_in_host, host) if profile.region_in_host else None
    if found is None or (named is None and answer.status not in {200, 403}):
        raise Misconfigured(
            "the provider does not tell the bucket's region",
            where=config.url,
            hint=f"set {config.variable_of('endpoint')} or {config.variable_of('region')}",
        )
    return template.format(region=found[1]), found[1]
