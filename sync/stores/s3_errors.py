"""The vendor exceptions of boto3 and obstore, translated. Nothing of them passes this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import botocore.exceptions as boto_errors
from obstore import exceptions as obstore_errors

from sync.errors import Denied, Misconfigured, SyncError, Unsupported
from sync.stores.answers import meaning
from sync.stores.carrier import of_text


@contextmanager
def translated(key: str, place: str, *, answered: Callable[[], bool]) -> Iterator[None]:
    """Turn what boto3 or obstore raise inside into one of our errors, naming `key` and `place`.

    `answered` tells whether the endpoint ever answered: a name that resolved before is a network that is down.
    """
    try:
        yield
    except boto_errors.ClientError as error:
        raise of_client_error(error, key, place) from error
    except (boto_errors.NoCredentialsError, boto_errors.PartialCredentialsError) as error:
        raise Denied("there are no credentials", where=place) from error
    except boto_errors.ParamValidationError as error:
        raise Unsupported("the request cannot be expressed", where=key) from error
    except (boto_errors.InvalidEndpointDiscoveryConfigurationError, boto_errors.UnknownEndpointError) as error:
        raise Misconfigured("the endpoint cannot be used", where=place) from error
    except (boto_errors.HTTPClientError, boto_errors.ConnectionError) as error:
        raise of_text(error, key, place, answered(), more=str(error.kwargs.get("error", ""))) from error
    except (boto_errors.BotoCoreError, OSError) as error:
        # obstore's NotFoundError is a FileNotFoundError, therefore an OSError: look at its text first.
        raise of_text(error, key, place, answered()) from error
    except obstore_errors.BaseError as error:
        raise of_text(error, key, place, answered()) from error
    except ValueError as error:  # boto3 refuses URLs it cannot build, obstore refuses keys
        raise Unsupported("the request cannot be expressed", where=key) from error


def of_client_error(error: boto_errors.ClientError, key: str, place: str) -> SyncError:
    """By the status and code that the server sent."""
    answer = error.response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", ""))
    after = str(answer.get("HTTPHeaders", {}).get("retry-after", ""))
    return meaning(
        status,
        "" if code.isdigit() else code,
        where=key,
        place=place,
        after_s=float(after) if after.isdigit() else None,
        said=str(error.response.get("Error", {}).get("Message", "")),
    )
