"""What only a folder as a bucket has: people who edit it by hand, other processes, links, a machine that dies."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sync.errors import Misconfigured, NotFound, PreconditionFailed, Unsupported
from sync.stores import ABSENT, only_over
from sync.stores.file import FileStore
from tests.support.servers import REPOSITORY
from tests.support.wait import until


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "bucket")


def test_the_bucket_is_a_plain_mirror(store: FileStore, tmp_path: Path) -> None:
    store.put("notes/a.txt", b"text", meta={"mode": "755"})
    store.put("empty/", b"", meta={})
    assert (tmp_path / "bucket/notes/a.txt").read_bytes() == b"text"
    assert (tmp_path / "bucket/empty").is_dir()
    store.delete("notes/a.txt")
    store.delete("empty/")
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == [".preflight-store"]


def test_an_edit_by_hand_is_another_version_without_our_metadata(store: FileStore, tmp_path: Path) -> None:
    version = store.put("a", b"ours", meta={"symlink": "1"}).version
    with open(tmp_path / "bucket/a", "r+b") as file:
        file.write(b"hand")
    os.utime(tmp_path / "bucket/a", ns=(1, 1))
    assert store.head("a").version != version
    assert store.head("a").meta == {}
    with pytest.raises(PreconditionFailed):
        store.put("a", b"mine", meta={}, only_if=only_over(version))
    with pytest.raises(PreconditionFailed):
        store.delete("a", if_version=version)
    assert (tmp_path / "bucket/a").read_bytes() == b"hand"


def test_a_file_put_there_by_hand_is_an_object(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "bucket/sub").mkdir(parents=True)
    (tmp_path / "bucket/sub/hand.txt").write_bytes(b"hand")
    (info,) = store.list()
    assert (info.key, info.size) == ("sub/hand.txt", 4)
    with pytest.raises(PreconditionFailed):
        store.put("sub/hand.txt", b"", meta={}, only_if=ABSENT)
    store.put("sub/hand.txt", b"new", meta={}, only_if=only_over(info.version))


def test_a_link_in_the_bucket_leads_nothing_out(store: FileStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put("a", b"x", meta={})
    (tmp_path / "bucket/link").symlink_to(outside)
    (tmp_path / "bucket/file").symlink_to(outside / "secret")
    assert [info.key for info in store.list()] == ["a"]
    assert list(store.list("link/")) == []
    with pytest.raises(Unsupported):
        store.put("link/x", b"x", meta={})
    with pytest.raises(NotFound):
        store.get("file", io.BytesIO())
    store.put("file", b"replaces the link", meta={})
    assert (outside / "secret").read_bytes() == b"secret"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_versions_differ_within_one_tick_of_the_kernels_clock(store: FileStore) -> None:
    versions = [store.put("a", b"same size", meta={}).version for _ in range(50)]
    assert len(set(versions)) == 50


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "bucket").write_bytes(b"")
    with pytest.raises(Misconfigured):
        FileStore(tmp_path / "bucket").put("a", b"", meta={})


COUNT = """
import io, sys
from pathlib import Path
from sync.errors import PreconditionFailed
from sync.stores import only_over
from sync.stores.file import FileStore
store = FileStore(Path(sys.argv[1]))
for _ in range(25):
    while True:
        sink = io.BytesIO()
        info = store.get("count", sink)
        try:
            store.put("count", str(int(sink.getvalue()) + 1).encode(), meta={}, only_if=only_over(info.version))
            break
        except PreconditionFailed:
            continue
"""


def test_processes_count_together_and_lose_nothing(store: FileStore, tmp_path: Path) -> None:
    store.put("count", b"0", meta={})

    def run(_: int) -> int:
        argv = [sys.executable, "-c", COUNT, str(tmp_path / "bucket")]
        return subprocess.run(argv, cwd=REPOSITORY, check=False, timeout=100).returncode

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(3))) == [0, 0, 0]
    sink = io.BytesIO()
    store.get("count", sink)
    assert sink.getvalue() == b"75"


WRITE = """
import sys
from pathlib import Path
from sync.stores.file import FileStore
store = FileStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    store.put("a", str(number).encode() * 300_000, meta={"number": str(number)})
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_version(store: FileStore, tmp_path: Path) -> None:
    store.put("a", b"0", meta={"number": "0"})
    for round_number in range(4):
        argv = [sys.executable, "-c", WRITE, str(tmp_path / "bucket")]
        log = tmp_path / f"log{round_number}"
        with open(log, "wb") as output:
            writer = subprocess.Popen(argv, cwd=REPOSITORY, stdout=output)
            until(lambda log=log: log.stat().st_size > 0, 60)  # type: ignore[misc]
            writer.send_signal(signal.SIGKILL)
            writer.wait(timeout=10)
        sink = io.BytesIO()
        info = store.get("a", sink)
        number = info.meta["number"]
        assert sink.getvalue() == number.encode() * 300_000
        assert int(number) >= int(log.read_bytes().split()[-1])
        assert [one.key for one in store.list()] == ["a"]
        store.put("b", b"the lock is free", meta={})
        store.delete("b")
