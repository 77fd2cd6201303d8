"""What the wire, urllib3 and obstore raise, in our words. Nothing of them passes this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from obstore import exceptions as obstore_errors
from urllib3 import exceptions as http_errors

from sync.errors import Unsupported
from sync.stores.answers import meaning
from sync.stores.carrier import of_text
from sync.stores.s3_answers import Refused


@contextmanager
def translated(key: str, place: str, *, answered: Callable[[], bool]) -> Iterator[None]:
    """Turn what is raised inside into one of our errors, naming `key` and `place`.

    `answered` tells whether the endpoint ever answered: a name that resolved before is a network that is down.
    """
    try:
        yield
    except Refused as error:
        raise meaning(
            error.status, error.code, where=key, place=place, after_s=error.after_s, said=error.said
        ) from error
    except (http_errors.HTTPError, OSError) as error:
        # obstore's NotFoundError is a FileNotFoundError, therefore an OSError: look at its text first.
        raise of_text(error, key, place, answered()) from error
    except obstore_errors.BaseError as error:
        raise of_text(error, key, place, answered()) from error
    except ValueError as error:  # a URL that cannot be built, a key that obstore refuses
        raise Unsupported("the request cannot be expressed", where=key) from error
