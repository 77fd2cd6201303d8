"""Where a bucket is: endpoint and region from what is configured (pure), else by asking the provider once."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

import urllib3
from urllib3.exceptions import HTTPError

from sync.errors import Misconfigured, Transient
from sync.stores.config import StoreConfig
from sync.stores.profiles import Profile
from sync.stores.s3_wire import connections

TIMES = urllib3.Timeout(connect=5.0, read=10.0)
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
    try:
        pools, _ = connections(scheme, urlsplit(url).netloc)
        answer = pools.request("GET", f"{url}?max-keys=1", timeout=TIMES, redirect=False, retries=False)
        pools.clear()
    except (HTTPError, OSError) as error:
        raise Transient("the bucket's region could not be asked for", where=config.url) from error
    region = answer.headers.get("x-amz-bucket-region")
    if region:
        return profile.endpoint.format(region=region) if profile.endpoint else None, region
    said = answer.data.decode("utf-8", "replace")
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
