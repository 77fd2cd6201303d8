"""What obstore needs to know and what it says, in our words: shared by the stores that send bytes through it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from obstore import exceptions as obstore_errors

from sync.errors import (
    Denied,
    DiskFull,
    Misconfigured,
    NotFound,
    PreconditionFailed,
    SyncError,
    Transient,
    Unstable,
    Unsupported,
)
from sync.stores.answers import meaning

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w+)</Code>")
SAID = re.compile(r"<Message>([^<]{0,300})")
QUERY = re.compile(r"\?[^\s'\")]+")
ASKED = re.compile(r"Error performing (\w+) \S+ in (\d+(?:\.\d+)?)s.*? - (.+)")  # obstore's words around the reason
NO_NAME = ("Name or service not known", "No address associated", "nodename nor servname", "NXDOMAIN")
BAD_TLS = ("certificate", "InvalidCertificate", "CERTIFICATE_VERIFY_FAILED")
STANDARD = frozenset(
    {"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Cache-Control", "Storage-Class"}
)
# An empty part, `.` or `..`, or a control character (Unicode's category Cc).
ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f-\x9f]")
CHUNK_BYTES = 1024 * 1024


# What obstore takes from the environment and no setting of ours can overrule: with one of them every write would ask
# for another encryption or checksum, which other clouds refuse, and an unknown value would stop every write.
STRAYS = (
    "AWS_CHECKSUM_ALGORITHM", "AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_KMS_KEY_ID", "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_SSE_CUSTOMER_KEY_BASE64", "AWS_DISABLE_TAGGING", "AWS_COPY_IF_NOT_EXISTS", "AWS_DISABLE_BULK_DELETE",
)  # fmt: skip


def forget_strays() -> None:
    """Take them out of this process's environment. Kernels have an environment of their own."""
    for name in STRAYS:
        os.environ.pop(name, None)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. A stalled read ends after `read_s`; an upload by obstore (1 MiB at most) may take `send_s` in all."""

    connect_s: float = 5.0
    read_s: float = 30.0
    send_s: float = 60.0  # 1 MiB at 18 kB/s


def quoted(tag: str) -> str:
    """An ETag as preconditions take it."""
    bare = tag.removeprefix("W/").strip('"')
    return f'"{bare}"' if bare else ""


def fits_obstore(full: str) -> bool:
    """Whether obstore stores exactly this key (it refuses some, and trims slashes at both ends)."""
    return ODD.search(full) is None


def user_meta(attributes: Mapping[str, str]) -> dict[str, str]:
    """The user's metadata among an object's attributes, names in lower case."""
    return {name.lower(): value for name, value in attributes.items() if name not in STANDARD}


def of_text(error: Exception, key: str, place: str, answered: bool, *, more: str = "") -> SyncError:
    """By what the message says: obstore gives status and body only there. `more` is what a wrapped error said."""
    text = f"{error} {more}"
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull("the local disk has no room", where=key)
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return Unstable("the local file is gone", where=key)
    status = STATUS.search(text)
    if status is not None:
        code = CODE.search(text)
        said = SAID.search(text)
        return meaning(int(status[1]), code[1] if code else "", where=key, place=place, said=said[1] if said else "")
    if isinstance(error, obstore_errors.AlreadyExistsError | obstore_errors.PreconditionError):
        return PreconditionFailed("somebody else wrote the object", where=key)
    if "Wanted range starting at" in text:
        return meaning(416, where=key, place=place)
    if "redirect without LOCATION" in text:
        return meaning(301, where=key, place=place)
    if isinstance(error, FileNotFoundError):
        return NotFound("no such object", where=key)
    if isinstance(error, obstore_errors.UnauthenticatedError | obstore_errors.PermissionDeniedError):
        return Denied("access denied", where=key)
    if isinstance(error, obstore_errors.InvalidPathError | obstore_errors.NotSupportedError):
        return Unsupported("the client cannot carry this name", where=key)
    if any(mark in text for mark in BAD_TLS):
        return Misconfigured("the endpoint's certificate is not trusted", where=place, hint="check the endpoint")
    if any(mark in text for mark in NO_NAME) and not answered:
        return Misconfigured("the endpoint's host name does not exist", where=place, hint="check the endpoint")
    return Transient(f"the network failed: {_brief(error)}", where=key or place)


def _brief(error: Exception) -> str:
    first = QUERY.sub("?…", str(error).split("\n", 1)[0])  # Azure's credential is in the query of its URLs
    if asked := ASKED.search(first):
        return f"{asked[1]} ended after {float(asked[2]):.1f} s: {asked[3][:160]}"
    return f"{type(error).__name__}, {first[:160]}"
