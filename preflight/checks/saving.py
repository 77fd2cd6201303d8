"""How well the folder is being saved, read from sync's own status while the node is used."""

from __future__ import annotations

from preflight.checks import Broken, Check, Context, Lane, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity
from sync.status import STALE_AFTER_S, State, Status, read_status
from sync.stores.expiry import expires_at

ENOUGH_BYTES = 8 * 1024**2
WATCH_S, LEAST_S = 12.0, 1.0  # sync says what it sent about once a second, and every 10 s at the least


def _status(context: Context) -> Status:
    if not context.stores:
        raise NotExpected("no bucket is configured")
    status = read_status(context.state_dir)
    if status is None:
        raise Unmeasured("sync has not said anything yet")
    return status


def measure_lag(context: Context) -> Reading:
    """Seconds that the oldest unsaved change waits; what waits goes on waiting while sync is silent."""
    status = _status(context)
    age_s = max(0.0, context.clock.now() - status.updated_at)
    if age_s > STALE_AFTER_S:
        raise Broken(f"sync has said nothing for {age_s:.0f} s", blame=Blame.IMAGE)
    if status.state is State.FAILED:
        raise Broken(status.why or "sync has failed", blame=Blame.ACCOUNT, advice=status.hint)
    lag_s = status.oldest_pending_s + age_s if status.pending_files else 0.0
    return Reading(lag_s, detail={"files": status.pending_files, "bytes": status.pending_bytes})


def measure_upload(context: Context) -> Reading:
    """Bytes a second that reached the bucket just now, while enough waits to be sent."""
    first = _status(context)
    if first.pending_bytes < ENOUGH_BYTES:
        raise NotExpected("there is not enough to send to see a speed")
    until_s = context.clock.monotonic() + WATCH_S
    while context.clock.monotonic() < until_s and not context.stopped.is_set():
        context.clock.sleep(0.25)
        later = _status(context)
        took_s = later.updated_at - first.updated_at
        if later.pid == first.pid and took_s >= LEAST_S and later.bytes_sent > first.bytes_sent:
            return Reading((later.bytes_sent - first.bytes_sent) / took_s, detail={"over_s": round(took_s, 1)})
    raise Unmeasured("nothing reached the bucket meanwhile")


def measure_expiry(context: Context) -> Reading:
    """Seconds until the first credential that states its own end."""
    ends = [(ends_at, config) for config in context.stores if (ends_at := expires_at(config)) is not None]
    if not ends:
        raise NotExpected("no credential here states when it ends")
    ends_at, config = min(ends, key=lambda one: one[0])
    variable = config.variable_of("sas" if config.provider == "azure" else "token")
    left_s = ends_at - context.clock.now()
    if left_s <= 0:
        raise Broken(f"the credential in {variable} has expired", blame=Blame.ACCOUNT, advice="make a new one")
    return Reading(left_s, detail={"variable": variable})


CHECKS = (
    Check(
        name="sync.lag",
        title="Oldest change that is not saved",
        unit="s",
        lane=Lane.HOST,
        measure=measure_lag,
        every_s=15.0,
        monitor_only=True,
        why="The promise is that a change is in the bucket within a second; this is how far we are from it.",
        limit=Limit(
            at_most=120.0,
            severity=Severity.WARN,
            blame=Blame.ENDPOINT,
            advice="do not leave this node yet: look at the sync status for what waits and why",
            why="A file of 1 GB takes 100 s on a slow line; beyond two minutes something is in the way.",
        ),
    ),
    Check(
        name="sync.upload",
        title="Upload, as sync sees it",
        unit="B/s",
        lane=Lane.HOST,
        measure=measure_upload,
        deadline_s=15.0,
        every_s=60.0,
        monitor_only=True,
        network=True,
        why="What your real work gets, beside what the start measured.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.NODE,
            advice="compare it with bucket.upload of the start",
            why="No limit: small files are slower than large ones. It is compared with this node's own normal.",
        ),
    ),
    Check(
        name="credentials.expiry",
        title="Credential ends in",
        unit="s",
        lane=Lane.HOST,
        measure=measure_expiry,
        every_s=600.0,
        why="A token that ends at night stops saving at night.",
        limit=Limit(
            at_least=86_400.0,
            severity=Severity.WARN,
            blame=Blame.ACCOUNT,
            advice="make a new token before this one ends",
            why="One day is enough for a person to see it and act.",
        ),
    ),
)
