"""What an HTTP answer of any cloud means to the engine: status and error code in, one of our errors out (pure)."""

from __future__ import annotations

from sync.errors import (
    Corrupt,
    Denied,
    Misconfigured,
    NotFound,
    PreconditionFailed,
    SyncError,
    Throttled,
    Transient,
    Unsupported,
)

POLICY = "check the policy"  # the hint of an identity that is accepted and may not do this
NO_BUCKET = {"NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "ContainerBeingDeleted", "BucketNotFound"}
WRONG_PLACE = {
    "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException",
    "SecondLevelDomainForbidden", "InvalidLocationConstraint", "AccountIsDisabled", "VirtualHostDomainRequired",
}  # fmt: skip
BAD_KEY = {"KeyTooLongError", "InvalidObjectName", "InvalidURI", "InvalidResourceName", "KeyTooLong"}
BAD_BODY = {
    "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "Md5Mismatch", "Crc64Mismatch",
    "InvalidMd5", "ContentMD5NotMatched", "XAmzContentChecksumMismatch",
}  # fmt: skip
ARCHIVED = {"InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"}
EXPIRED = {"ExpiredToken", "RequestExpired", "TokenRefreshRequired", "SecurityTokenExpired", "InvalidToken"}
BAD_IDENTITY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurityToken", "AuthenticationFailed"}
EXISTS = {"FileAlreadyExists", "ObjectAlreadyExists", "BlobAlreadyExists", "FileImmutable", "PathConflict"}
LATER = {"RequestTimeout", "InternalError", "OperationAborted", "ConditionalRequestConflict", "ServerBusy"}
SLOWER = {"SlowDown", "TooManyRequests", "Throttling", "RequestLimitExceeded", "QpsLimitExceeded", "FlowLimitExceeded"}
QUOTA = {"QuotaExceeded", "StorageQuotaExceeded", "UserDisable", "AccountBillingNotEnabled", "InsufficientStorage"}


def meaning(
    status: int, code: str = "", *, where: str = "", place: str = "", after_s: float | None = None, said: str = ""
) -> SyncError:
    """The error of one answer. `where` is the key, `place` the bucket's URL, `said` the server's own sentence."""
    told = f": {code}" if code else f": HTTP {status}"
    if code in NO_BUCKET:
        return Misconfigured(f"the bucket does not exist{told}", where=place, hint="check the bucket's name and region")
    if code in WRONG_PLACE or status in {301, 307, 308}:
        return Misconfigured(f"the bucket is elsewhere{told}", where=place, hint="check the region and the endpoint")
    if code in ARCHIVED:
        return Unsupported(
            f"the object is archived{told}", where=where, hint="bring it back from its archive storage class first"
        )
    if code in BAD_KEY:
        return Unsupported(f"the server cannot store this name{told}", where=where)
    if code in BAD_BODY:
        return Corrupt(f"the server got other bytes than were sent{told}", where=where)
    if code in EXPIRED:
        return Denied(f"the credentials have expired{told}", where=place, hint="renew them")
    if code == "AuthenticationFailed" and "time frame" in said:  # Azure, of a SAS that ended or has not begun
        return Denied("the credentials have expired or are not valid yet", where=place, hint="renew them")
    if code in BAD_IDENTITY:
        return Denied(f"the server does not accept the credentials{told}", where=place, hint="check id and secret")
    if code == "RequestTimeTooSkewed":
        return wrong_clock(place)
    if code in QUOTA or status == 507:
        return Denied(f"the account's quota or balance is used up{told}", where=place, hint="free or buy space")
    if code in EXISTS or status == 412:
        return PreconditionFailed("somebody else wrote the object", where=where)
    if code in SLOWER or status in {429, 503}:
        return Throttled(f"the server asks for a slower pace{told}", where=where, after_s=after_s)
    if code in LATER or status in {408, 409} or (status >= 500 and status != 501):
        return Transient(f"the server could not do it now{told}", where=where)
    if status == 501:
        return Unsupported(f"the provider does not know this request{told}", where=where)
    if status in {401, 403}:
        return Denied(f"access denied{told}{_sentence(said)}", where=where or place, hint=POLICY)
    if status == 404:
        return NotFound("no such object", where=where)
    return Unsupported(f"the server refuses this request{told}{_sentence(said)}", where=where)


def wrong_clock(place: str) -> Denied:
    """The server found the time in a signature too far from its own (15 minutes with S3, an hour with Google)."""
    return Denied("this machine's clock is wrong", where=place, hint="set the clock: signatures carry the time")


def _sentence(said: str) -> str:
    text = " ".join(said.split())[:200]
    return f", {text}" if text else ""
