"""What the wire and urllib3 raise, in our words. Nothing of them passes this file."""

from __future__ import annotations

from urllib3.exceptions import HTTPError

from sync.errors import SyncError, Unsupported
from sync.stores.answers import meaning
from sync.stores.network import of_network
from sync.stores.s3_answers import Refused


def translated(error: BaseException, key: str, place: str, *, answered: bool) -> SyncError | None:
    """One of our errors for what a request ended with, naming `key` and `place`; None for what is not ours to name.

    `answered` tells whether the endpoint ever answered: a name that resolved before is a network that is down.
    """
    if isinstance(error, SyncError):
        return error
    if isinstance(error, Refused):
        return meaning(error.status, error.code, where=key, place=place, after_s=error.after_s, said=error.said)
    if isinstance(error, HTTPError | OSError):
        return of_network(error, key, place, answered)
    if isinstance(error, ValueError):  # a URL or a header that cannot be built
        return Unsupported("the request cannot be expressed", where=key)
    return None
