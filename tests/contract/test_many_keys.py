"""A folder of very many small files: restored whole, by the real command, and still saved with one request a change.

Short form: 2,000 files. `PREFLIGHT_LONG_TESTS=1`: 100,000; what it took is written down in docs/clouds/README.md.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sync.stores.opening import open_store
from tests.contract.test_round_trip import Node, saved_after
from tests.support.moto import S3Server

IS_LONG = os.environ.get("PREFLIGHT_LONG_TESTS") == "1"
FILES = 100_000 if IS_LONG else 2_000
PATIENCE_S = 1_800.0 if IS_LONG else 240.0
pytestmark = pytest.mark.timeout(7_200 if IS_LONG else 600)


def name(number: int) -> str:
    return f"d{number % 97:02d}/s{number % 11}/f{number:06d}.txt"


def body(number: int) -> bytes:
    return f"{number}\n".encode() * (1 + number % 40)


def test_very_many_files_are_restored(seaweed_server: S3Server, tmp_path: Path) -> None:
    config = seaweed_server.config("contract", "many")
    with closing(open_store(config)) as store, ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda n: store.put(name(n), body(n), meta={"mtime": "1700000000.5"}), range(FILES)):
            pass
    node = Node(tmp_path / "node", seaweed_server.environ("contract/many"))
    started_s = time.monotonic()
    with node.running() as child:
        status = node.reaches(lambda status: status.restored, PATIENCE_S)
        took_s = time.monotonic() - started_s
        peak_kib = next(
            line.split()[1] for line in Path(f"/proc/{child.pid}/status").read_text().splitlines() if "VmHWM" in line
        )
        print(f"\n{FILES} files restored in {took_s:.1f} s, {int(peak_kib) / 1024:.0f} MiB at most")
        assert status.restore.files_done == FILES
        assert not status.problems
        assert node.tree() == {name(n): body(n) for n in range(FILES)}
        before = node.reaches(saved_after(0), PATIENCE_S).requests
        (node.data / name(7)).write_bytes(b"edited")
        after = node.reaches(lambda status: status.requests.get("put", 0) > before.get("put", 0), PATIENCE_S).requests
        assert after.get("list", 0) == before.get("list", 0)
        child.terminate()
        assert child.wait(timeout=PATIENCE_S) == 0
    with closing(open_store(config)) as store:
        assert sum(1 for info in store.list() if not info.key.startswith(".preflight/")) == FILES
        assert store.head(name(7)).size == 6
