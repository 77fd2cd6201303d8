"""The vendor exceptions of boto3 and obstore, translated. Nothing of them passes this file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import botocore.exceptions as boto_errors
from obstore import exceptions as obstore_errors

from sync.errors import Denied, Misconfigured, NotFound, PreconditionFailed, SyncError, Transient, Unsupported
from sync.stores.answers import meaning

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w+)</Code>")
SAID = re.compile(r"<Message>([^<]{0,300})")
NO_NAME = ("Name or service not known", "No address associated", "nodename nor servname", "NXDOMAIN")
BAD_TLS = ("certificate", "InvalidCertificate", "CERTIFICATE_VERIFY_FAILED")


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


def of_text(error: Exception, key: str, place: str, answered: bool) -> SyncError:
    """By what the message says: obstore gives status and body only there, botocore wraps the network's errors."""
    text = str(error)
    if isinstance(error, boto_errors.HTTPClientError | boto_errors.ConnectionError):
        text += f" {error.kwargs.get('error', '')}"
    status = STATUS.search(text)
    if status is not None:
        code = CODE.search(text)
        said = SAID.search(text)
        return meaning(int(status[1]), code[1] if code else "", where=key, place=place, said=said[1] if said else "")
    if isinstance(error, obstore_errors.AlreadyExistsError | obstore_errors.PreconditionError):
        return PreconditionFailed("somebody else wrote the object", where=key)
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
    first = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}, {first[:160]}"
