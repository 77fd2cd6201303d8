"""How fast the bucket is from this node; run as a child that has the keys, prints rows and no secret.

Writes objects of random bytes below `.preflight/benchmark/`, reads them back, deletes them.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence

from sync.clock import Clock, SystemClock
from sync.errors import SyncError
from sync.secrecy import hide_process
from sync.settings import SyncSettings
from sync.stores import Store
from sync.stores.opening import open_store

ROOT = ".preflight/benchmark/"
SIZES_BYTES = (1_000, 100_000, 1_000_000, 8_000_000)
MOST_BYTES = 256_000_000  # of one object: the notebook must not fill a bucket by a slip of the keyboard
MOST_REPEATS = 20


def benchmark(store: Store, sizes_bytes: Iterable[int], repeats: int, clock: Clock) -> list[dict[str, object]]:
    """One row a request: {"verb", "size_bytes", "took_s", "error"}. What it wrote is gone afterwards."""
    rows: list[dict[str, object]] = []

    def timed(verb: str, size: int, action: Callable[[], object]) -> None:
        began = clock.monotonic()
        error = ""
        try:
            action()
        except SyncError as failed:
            error = str(failed)
        rows.append({"verb": verb, "size_bytes": size, "took_s": clock.monotonic() - began, "error": error})

    for size in sizes_bytes:
        body = os.urandom(min(size, MOST_BYTES))  # random: nothing on the way can compress it
        for number in range(min(repeats, MOST_REPEATS)):
            key = f"{ROOT}{os.getpid()}-{size}-{number}"
            timed("put", size, lambda key=key, body=body: store.put(key, body, meta={}))  # type: ignore[misc]
            timed("get", size, lambda key=key: store.get(key, io.BytesIO()))  # type: ignore[misc]
            timed("head", size, lambda key=key: store.head(key))  # type: ignore[misc]
            timed("delete", size, lambda key=key: store.delete(key))  # type: ignore[misc]
    return rows


def main(argv: Sequence[str]) -> int:
    """`REPEATS [SIZE_BYTES…]`: print {"store", "rows"}."""
    hide_process()
    repeats, *sizes = [int(word) for word in argv] or [3]
    stores = SyncSettings.load(os.environ).stores
    if not stores:
        print("no bucket is configured", file=sys.stderr)  # noqa: T201
        return 2
    store = open_store(stores[0])
    rows = benchmark(store, sizes or SIZES_BYTES, repeats, SystemClock())
    json.dump({"store": store.url, "rows": rows}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
