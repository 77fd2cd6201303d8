"""What the clients of all clouds share: how long they wait, and what an error of the network means in our words."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from sync.errors import DiskFull, Misconfigured, SyncError, Transient, Unstable

QUERY = re.compile(r"\?[^\s'\")]+")
NO_NAME = ("Name or service not known", "No address associated", "nodename nor servname", "NXDOMAIN")
BAD_TLS = ("certificate", "InvalidCertificate", "CERTIFICATE_VERIFY_FAILED")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, and for the next piece of an answer."""

    connect_s: float = 5.0
    read_s: float = 30.0


def quoted(tag: str) -> str:
    """An ETag as preconditions take it."""
    bare = tag.removeprefix("W/").strip('"')
    return f'"{bare}"' if bare else ""


def of_disk(error: Exception, key: str) -> SyncError | None:
    """What the local disk refused in the middle of a transfer; None for every other error."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull("the local disk has no room", where=key)
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return Unstable("the local file is gone", where=key)
    return None


def of_network(
    error: Exception, key: str, place: str, answered: bool, *, more: str = "", told: str | None = None
) -> SyncError:
    """An error without an answer. `answered`: the endpoint once did, so its name exists; `more`: what a wrapped error
    said; `told`: the sentence for people, where the error's own text is not one."""
    if (known := of_disk(error, key)) is not None:
        return known
    text = f"{error} {more}"
    if any(mark in text for mark in BAD_TLS):
        return Misconfigured("the endpoint's certificate is not trusted", where=place, hint="check the endpoint")
    if any(mark in text for mark in NO_NAME) and not answered:
        return Misconfigured("the endpoint's host name does not exist", where=place, hint="check the endpoint")
    return Transient(f"the network failed: {told or brief(error)}", where=key or place)


def brief(error: Exception) -> str:
    """Its kind and first line, without the query of a URL: Azure's credential is in there."""
    return f"{type(error).__name__}, {QUERY.sub('?…', str(error).split(chr(10), 1)[0])[:160]}"
