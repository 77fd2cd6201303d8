"""Upload and download on the real data path: the user's bucket, the engine's own client, several streams.

Never a public speed test: a fifth of the nodes block it, and it measures a path that saving does not use.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preflight.bucket_path import FOLDER, PATIENCE_S, fault, identity, opened, remote
from preflight.checks import Broken, Check, Context, Lane, Reading
from preflight.checks.bucket import usable
from preflight.cpu_wait import CpuWait
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity
from preflight.side_by_side import each
from preflight.transfer import SMALLEST, STREAMS, Transfer, largest_for, observe, upper_bound
from sync.errors import SyncError
from sync.stores import Store
from sync.stores.config import StoreConfig

DEFAULT_BUDGET_BYTES = 6_500_000  # each way; with what the download needs written first, below 16 MB in all
TRAFFIC_S = 4.0  # with a limit: what the limit itself carries in this time, ...
LIMIT_BUDGET_BYTES = 64_000_000  # ... at most this much, and only as far as certainty takes
BUDGET_S = 2.5  # of one direction where nothing is demanded: a verdict in 10 s even on a slow path
LIMIT_BUDGET_S = 4.0  # where a limit is near: fast paths are accepted in 1 s
CONFIRM_BUDGET_S = 5.0  # of the second, longer look; less where both directions are suspect and share the time
CLEAN_S = 0.7  # left for removing the test objects
EMPTY_ROUNDS = 3  # of a slow path: what the same requests take without their bytes
PREFILL_S = 0.25  # of writing what the download will read


@dataclass(slots=True)
class Path:
    """One store and the objects that the transfers use; the same few keys, so that little is left to remove."""

    store: Store
    config: StoreConfig
    stem: str
    stored_bytes: int = 0  # size of the objects that are there now

    def key(self, number: int) -> str:
        """The key of stream `number`."""
        return f"{self.stem}-{number}"


Direction = Callable[[Context, Path, float | None, CpuWait], Transfer]


def measure_upload(context: Context) -> Reading:
    """Bytes a second into the bucket: median over rounds of four streams, the round trip not counted."""
    return _measure(context, "bucket.upload", _upload)


def measure_download(context: Context) -> Reading:
    """Bytes a second out of the bucket, measured like the upload."""
    return _measure(context, "bucket.download", _download)


def _measure(context: Context, name: str, direction: Direction) -> Reading:
    config = remote(context)
    usable(context)
    effective = context.limit(name)
    limit = effective.at_least if effective and isinstance(effective.at_least, int | float) else None
    path = _path(context, config)
    wait = CpuWait(context.cpu_wait_s)
    try:
        seen = direction(context, path, limit, wait)
        if limit is not None and seen.rate < limit and wait.starved:
            busy = f"the CPU was busy with something else for {wait.share:.0%} of the time"
            raise Unmeasured(f"{busy}: {seen.rate:,.0f} B/s says nothing about the path")
        if limit is not None and seen.rate < limit <= seen.without_requests:
            slow = f"empty requests, as many at once, take {seen.empty_s:.2f} s"
            raise Unmeasured(f"{slow}: {seen.rate:,.0f} B/s says more about answers than about the line")
        blame, advice = None, ""
        if limit is not None and seen.rate < limit and context.round_number and len(context.stores) > 1:
            blame, advice = _cross_check(context, direction, limit)
    finally:
        _clean(path)
    before = context.first.get(name)
    samples = before.detail.get("samples") if before else None
    return Reading(
        seen.rate,
        blame=blame,
        advice=advice,
        detail={
            **bounds(seen, samples if isinstance(samples, Sequence) else (), limit, context.round_number),
            "samples": list(seen.samples),
            "single_stream": seen.single,
            "streams": seen.streams,
            "round_trip_s": seen.round_trip_s,
            "empty_s": seen.empty_s,
            "object_bytes": seen.object_bytes,
            "moved_bytes": seen.moved_bytes,
            "cpu_wait_share": round(wait.share, 3),
            "store": config.url,
        },
    )


def bounds(seen: Transfer, before: Sequence[float], limit: float | None, round_number: int) -> dict[str, float | str]:
    """The interval that judging needs. The first look only raises a suspicion, so it states none.

    The second pools the samples of both looks; it is unbounded, so that nothing is concluded, when it alone would
    pass or when there are fewer than eight samples.
    """
    if not round_number:
        return {}
    high = upper_bound([*before, *seen.samples])
    if high is None or (limit is not None and seen.rate >= limit):
        return {"high": "unbounded"}
    return {"high": high}


def _path(context: Context, config: StoreConfig) -> Path:
    stem = f"{FOLDER}flow-{context.rng.randrange(1 << 48):012x}"
    path = Path(opened(context, config), config, stem)
    return context.shared.once(f"flow {identity(config)}", lambda: path, patience_s=PATIENCE_S)


def _upload(context: Context, path: Path, limit: float | None, wait: CpuWait) -> Transfer:
    largest = largest_for(limit)
    noise = context.rng.randbytes(largest)  # incompressible: some paths compress

    def put(number: int, size: int) -> None:
        path.store.put(path.key(number), noise[:size], meta={})
        path.stored_bytes = size

    return _observed(context, path, limit, put, "write test objects", largest, wait)


def _download(context: Context, path: Path, limit: float | None, wait: CpuWait) -> Transfer:
    size = _prefill(context, path, largest_for(limit))

    def get(number: int, wanted: int) -> None:
        if wanted < size:
            got = len(path.store.get_range(path.key(number), 0, wanted))
        else:
            got = path.store.get(path.key(number), io.BytesIO()).size
        if got != wanted:
            raise Broken(f"{path.config.url} returned {got} of {wanted} bytes", blame=Blame.ENDPOINT)

    return _observed(context, path, limit, get, "read test objects", size, wait)


def _prefill(context: Context, path: Path, largest: int) -> int:
    """Write what will be read: as much as a quarter of a second carries (a slow uplink must not stall this)."""
    noise = context.rng.randbytes(largest)
    size = SMALLEST
    while True:
        body = noise[:size]
        started = context.clock.monotonic()
        try:
            each(STREAMS, lambda number, body=body: _put(path, number, body))  # type: ignore[misc]
        except SyncError as error:
            raise fault(error, path.config, "write test objects") from error
        took_s = context.clock.monotonic() - started
        if size >= largest or took_s > PREFILL_S:
            return size
        size = min(size * 4, largest)


def _put(path: Path, number: int, body: bytes) -> None:
    path.store.put(path.key(number), body, meta={})
    path.stored_bytes = len(body)


def _observed(
    context: Context,
    path: Path,
    limit: float | None,
    one: Callable[[int, int], None],
    doing: str,
    largest: int,
    wait: CpuWait,
) -> Transfer:
    def move(size: int, streams: int) -> float:
        if context.stopped.is_set():
            raise Unmeasured("the time for all checks was up")
        started = context.clock.monotonic()
        each(streams, lambda number: wait.call(lambda: one(number, size)))
        took_s = context.clock.monotonic() - started
        wait.round_took(took_s)
        return took_s

    try:
        seen = observe(
            move,
            context.clock,
            limit=limit,
            budget_bytes=budget_bytes(limit),
            budget_s=min(budget_s(limit, context.round_number), _left_s(context)),
            largest=largest,
        )
        if seen is not None and limit is not None and seen.rate < limit:
            seen = replace(seen, empty_s=statistics.median(move(1, STREAMS) for _ in range(EMPTY_ROUNDS)))
    except SyncError as error:
        raise fault(error, path.config, doing) from error
    if seen is None:
        raise Unmeasured("not one transfer ended in time")
    return seen


def _left_s(context: Context) -> float:
    """Seconds that this direction may still take: half of them where the other direction has to be confirmed too."""
    left_s = context.ends_at_s - context.clock.monotonic() - CLEAN_S
    suspects = 0
    for name in ("bucket.upload", "bucket.download"):
        before, effective = context.first.get(name), context.limit(name)
        least = effective.at_least if effective else None
        if before and isinstance(before.value, float) and isinstance(least, int | float) and before.value < least:
            suspects += 1
    return max(left_s / 2 if suspects == 2 else left_s, 0.5)


def budget_s(limit: float | None, round_number: int) -> float:
    """Seconds that one direction may take."""
    if round_number:
        return CONFIRM_BUDGET_S
    return BUDGET_S if limit is None else LIMIT_BUDGET_S


def budget_bytes(limit: float | None) -> int:
    """Bytes that one direction may move."""
    if limit is None:
        return DEFAULT_BUDGET_BYTES
    return int(min(max(limit * TRAFFIC_S, DEFAULT_BUDGET_BYTES), LIMIT_BUDGET_BYTES))


def _clean(path: Path) -> None:
    """Remove the test objects. What fails here is removed by the access check of a later day."""
    if not path.stored_bytes:
        return

    def forget(number: int) -> None:
        try:
            path.store.delete(path.key(number))
        except SyncError:
            return

    each(STREAMS, forget)
    path.stored_bytes = 0


def _cross_check(context: Context, direction: Direction, limit: float) -> tuple[Blame | None, str]:
    """Whether another configured store is fast from here: then the slow one's service is to blame, not the node."""
    other = context.stores[1]
    if other.provider == "file":
        return None, ""
    try:
        path = _path(context, other)
        seen = direction(context, path, limit, CpuWait(context.cpu_wait_s))
        _clean(path)
    except (Broken, Unmeasured):
        return None, ""
    if seen.rate < limit:
        return None, ""
    return Blame.ENDPOINT, f"{other.url} is fast enough from here: this bucket's service is slow, not the node"


_WHY = (
    "Without a limit of yours it only informs: every default would throw good nodes away (an upload limit of 20 Mbit/s "
    "excludes 4 % of the recorded nodes, 40 Mbit/s 29 %, 100 Mbit/s 53 %). With one, two separate looks must agree and "
    "the 99.5 % upper bound of the median of both must lie below the limit. A slow look during which its threads "
    "waited for the CPU a fifth of the time is unknown: it says nothing about the path. So is one that is fast enough "
    "once the time of as many empty requests is taken off: a server that answers slowly is no slow line."
)

CHECKS = (
    Check(
        name="bucket.upload",
        title="Upload to your bucket",
        unit="B/s",
        lane=Lane.BUCKET,
        deadline_s=7.0,
        measure=measure_upload,
        network=True,
        why="How fast work is saved, measured with the engine's own client on the user's own bucket.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.NODE,
            advice="saving large files takes long here: lower the limit, or move the bucket nearer",
            why=_WHY,
        ),
    ),
    Check(
        name="bucket.download",
        title="Download from your bucket",
        unit="B/s",
        lane=Lane.BUCKET,
        deadline_s=7.0,
        measure=measure_download,
        network=True,
        why="How fast a folder is restored, measured with the engine's own client on the user's own bucket.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.NODE,
            advice="restoring large folders takes long here: lower the limit, or move the bucket nearer",
            why=_WHY,
        ),
    ),
)
