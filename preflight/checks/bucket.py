"""May this container really use the bucket? A put, a get, a list and a delete with the user's own key."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

from preflight.bucket_path import FOLDER, PATIENCE_S, fault, opened, primary, remote
from preflight.checks import Broken, Check, Context, Lane, Reading
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity
from sync.errors import Denied, SyncError
from sync.stores import Store

STALE_AFTER_S = 24 * 3600.0  # what a killed check left in the bucket a day ago is nobody's any more


def measure_access(context: Context) -> Reading:
    """Seconds for put + get + list + delete of a small object under `.preflight/checks/`.

    Raises Broken with the step that was refused, blaming the account (403, no bucket) or the endpoint (5xx).
    """
    return context.shared.once("bucket access", lambda: _access(context))


def _access(context: Context) -> Reading:
    config = primary(context)
    store = opened(context, config)
    key = f"{FOLDER}access-{context.rng.randrange(1 << 48):012x}"
    body = f"preflight access check {key}\n".encode()
    took: dict[str, object] = {}

    def step(name: str, action: Callable[[], None]) -> None:
        started = context.clock.monotonic()
        try:
            action()
        except SyncError as error:
            raise fault(error, config, name) from error
        took[f"{name.split()[0]}_s"] = round(context.clock.monotonic() - started, 6)

    def read() -> None:
        into = io.BytesIO()
        store.get(key, into)
        if into.getvalue() != body:
            raise Broken(f"{config.url} returned other bytes than it was given", blame=Blame.ENDPOINT)

    old: list[str] = []

    def find() -> None:
        now_s: float | None = None
        for info in store.list(FOLDER):
            if info.key == key:
                now_s = info.modified  # the server's own clock: ours may be wrong
            else:
                old.append(info.key)
                ages[info.key] = info.modified
        if now_s is None:
            raise Broken(f"{config.url} does not list what was just written", blame=Blame.ENDPOINT)
        old[:] = [name for name in old if ages[name] < now_s - STALE_AFTER_S][:10]

    ages: dict[str, float] = {}
    started = context.clock.monotonic()
    step("write a test object", lambda: void(store.put(key, body, meta={})))
    step("read the test object back", read)
    step("list the folder", find)
    step("delete the test object", lambda: store.delete(key))
    took_s = context.clock.monotonic() - started
    for name in old:
        _forget(store, name)
    return Reading(took_s, detail={**took, "store": config.url})


def measure_scope(context: Context) -> Reading:
    """ "this folder only", "the whole bucket", or why it could not be told: what the key reaches besides the prefix."""
    config = remote(context)
    usable(context)
    if not config.prefix:
        return Reading("the whole bucket", detail={"store": config.url}, advice="use a folder, and a key limited to it")
    outside = opened(context, dataclasses.replace(config, prefix=""))
    try:
        next(iter(outside.list("")), None)
    except Denied:
        return Reading("this folder only")
    except SyncError as error:
        raise Unmeasured(f"listing outside the folder failed: {error.what}") from error
    return Reading("the whole bucket", advice="a key that reaches only this folder would be safer on a rented machine")


def usable(context: Context) -> None:
    """Return when the bucket can be used; else raise Unmeasured, so that one fault is told once."""
    try:
        context.shared.once("bucket access", lambda: _access(context), patience_s=PATIENCE_S)
    except (Broken, Unmeasured) as error:
        raise Unmeasured("the bucket cannot be used, see bucket.access") from error


def _forget(store: Store, key: str) -> None:
    try:
        store.delete(key)
    except SyncError:
        return  # not ours to insist: it is found again at the next start


def void(_: object) -> None:
    """Drop a result."""


CHECKS = (
    Check(
        name="bucket.access",
        title="Bucket: write, read, list, delete",
        unit="s",
        lane=Lane.BUCKET,
        deadline_s=5.0,
        measure=measure_access,
        network=True,
        why="Proves with real requests that the key may do all that saving needs, before anything is edited.",
        limit=Limit(
            at_most=10.0,
            severity=Severity.WARN,
            blame=Blame.ENDPOINT,
            advice="saving will be slow: choose a bucket nearer to the node, or look at the provider's status page",
            why="Four requests take 4 round trips; the slowest recorded node has 166 ms (p90) to its bucket, so 10 s "
            "is 15 times the worst seen and only a sick service needs more. It warns: another node would see the same.",
        ),
    ),
    Check(
        name="bucket.scope",
        title="Bucket: what else the key reaches",
        unit="",
        lane=Lane.BUCKET,
        deadline_s=3.0,
        measure=measure_scope,
        network=True,
        informs_only=True,
        why="A rented machine belongs to a stranger: a key that reaches more than the folder risks more than that.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.ACCOUNT,
            advice="limit the key to the folder",
            why="For information: many providers' simple keys cannot be limited, so it cannot be demanded.",
        ),
    ),
)
