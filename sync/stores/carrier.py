"""What obstore needs to know and what it says, in our words (Azure reads through it)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from obstore import exceptions as obstore_errors

from sync.errors import Denied, NotFound, PreconditionFailed, SyncError, Unsupported
from sync.stores.answers import meaning
from sync.stores.exact import is_odd
from sync.stores.network import QUERY, of_disk, of_network

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w+)</Code>")
SAID = re.compile(r"<Message>([^<]{0,300})")
ASKED = re.compile(r"Error performing (\w+) \S+ in (\d+(?:\.\d+)?)s.*? - (.+)")  # obstore's words around the reason
STANDARD = frozenset(
    {"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Cache-Control", "Storage-Class"}
)
CHUNK_BYTES = 1024 * 1024


def fits_obstore(full: str) -> bool:
    """Whether obstore stores exactly this key (it refuses some, and trims slashes at both ends)."""
    return not is_odd(full)


def user_meta(attributes: Mapping[str, str]) -> dict[str, str]:
    """The user's metadata among an object's attributes, names in lower case."""
    return {name.lower(): value for name, value in attributes.items() if name not in STANDARD}


def of_text(error: Exception, key: str, place: str, answered: bool, *, more: str = "") -> SyncError:
    """By what the message says: obstore gives status and body only there. `more` is what a wrapped error said."""
    text = f"{error} {more}"
    if (known := of_disk(error, key)) is not None:
        return known
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
    return of_network(error, key, place, answered, more=more, told=_told(error))


def _told(error: Exception) -> str | None:
    asked = ASKED.search(QUERY.sub("?…", str(error).split("\n", 1)[0]))
    return f"{asked[1]} ended after {float(asked[2]):.1f} s: {asked[3][:160]}" if asked else None
