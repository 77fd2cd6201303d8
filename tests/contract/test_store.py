"""What every store promises (sync/stores/__init__.py), on real servers."""

from __future__ import annotations

import errno
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from sync.errors import DiskFull, NotFound, PreconditionFailed, SyncError, Unstable, Unsupported
from sync.stores import ABSENT, ObjectInfo, Store, Writes, only_over
from sync.stores.probe import innermost

META = {"mtime": "1718000000.123456789", "mode": "644"}


def content(store: Store, key: str, *, if_version: str | None = None) -> bytes:
    sink = io.BytesIO()
    info = store.get(key, sink, if_version=if_version)
    assert info.size == len(sink.getvalue())
    return sink.getvalue()


def listed(store: Store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert listed(store) == []


def test_what_was_put_is_got_headed_and_listed(store: Store) -> None:
    put = store.put("notes/a.ipynb", b"hello", meta=META)
    assert put.version
    assert content(store, "notes/a.ipynb") == b"hello"
    head = store.head("notes/a.ipynb")
    assert (head.key, head.size, head.version) == ("notes/a.ipynb", 5, put.version)
    assert dict(head.meta) == META
    (info,) = store.list()
    assert (info.key, info.size, info.version) == ("notes/a.ipynb", 5, put.version)
    assert abs(info.modified - head.modified) < 2


def test_get_returns_the_metadata(store: Store) -> None:
    store.put("a", b"hello", meta=META)
    got = store.get("a", io.BytesIO())
    assert dict(got.meta) == META


def test_a_body_may_be_a_file(store: Store, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 3_000_000)
    put = store.put("big", body, meta=META)
    assert put.size == 3_000_000
    assert content(store, "big") == body.read_bytes()


def test_an_empty_body(store: Store) -> None:
    put = store.put("empty", b"", meta=META)
    assert put.size == 0
    assert content(store, "empty") == b""
    assert store.get_range("empty", 0, 10) == b""


def test_a_large_body_streams_from_disk(store: Store, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 4096 * 20)  # 20 MiB
    put = store.put("large", body, meta=META)
    sink = io.BytesIO()
    store.get("large", sink, if_version=put.version)
    assert hashlib.sha256(sink.getvalue()).digest() == hashlib.sha256(body.read_bytes()).digest()
    assert dict(store.head("large").meta) == META


def test_a_missing_object(store: Store) -> None:
    with pytest.raises(NotFound):
        store.head("nothing")
    with pytest.raises(NotFound):
        store.get("nothing", io.BytesIO())
    with pytest.raises(NotFound):
        store.get_range("nothing", 0, 1)
    store.delete("nothing")
    if store.facts.delete_if_match:
        store.delete("nothing", if_version=store.put("other", b"", meta={}).version)


def test_ranges(store: Store) -> None:
    version = store.put("a", b"0123456789", meta={}).version
    assert store.get_range("a", 2, 3) == b"234"
    assert store.get_range("a", 8, 5, if_version=version) == b"89"
    assert store.get_range("a", 10, 5) == b""
    with pytest.raises(PreconditionFailed):
        store.get_range("a", 0, 1, if_version=store.put("b", b"other", meta={}).version)


def test_a_version_changes_with_every_new_content(store: Store) -> None:
    first = store.put("a", b"one", meta={})
    second = store.put("a", b"two", meta={})
    assert first.version != second.version
    with pytest.raises(PreconditionFailed):
        store.get("a", io.BytesIO(), if_version=first.version)
    assert content(store, "a", if_version=second.version) == b"two"


def test_create_only(store: Store) -> None:
    if store.facts.writes is Writes.NONE:
        with pytest.raises(Unsupported):
            store.put("a", b"one", meta={}, only_if=ABSENT)
        return
    store.put("a", b"one", meta=META, only_if=ABSENT)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"two", meta={}, only_if=ABSENT)
    assert content(store, "a") == b"one"


def test_compare_and_swap(store: Store) -> None:
    first = store.put("a", b"one", meta={})
    if store.facts.writes is not Writes.FULL:
        with pytest.raises(Unsupported):
            store.put("a", b"two", meta={}, only_if=only_over(first.version))
        return
    second = store.put("a", b"two", meta=META, only_if=only_over(first.version))
    with pytest.raises(PreconditionFailed):
        store.put("a", b"three", meta={}, only_if=only_over(first.version))
    assert content(store, "a", if_version=second.version) == b"two"
    store.delete("a")
    with pytest.raises(PreconditionFailed):
        store.put("a", b"four", meta={}, only_if=only_over(second.version))
    assert listed(store) == []


def test_create_only_of_two_writers_at_once(store: Store) -> None:
    if store.facts.writes is Writes.NONE:
        return

    def create(number: int) -> bool:
        try:
            store.put("lease", str(number).encode(), meta={}, only_if=ABSENT)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_delete(store: Store) -> None:
    store.put("a", b"one", meta={})
    store.put("ab", b"two", meta={})
    store.delete("a")
    assert listed(store) == ["ab"]


def test_delete_compares(store: Store) -> None:
    first = store.put("a", b"one", meta={})
    if not store.facts.delete_if_match:
        with pytest.raises(Unsupported):
            store.delete("a", if_version=first.version)
        return
    second = store.put("a", b"two", meta={})
    with pytest.raises(PreconditionFailed):
        store.delete("a", if_version=first.version)
    assert content(store, "a") == b"two"
    store.delete("a", if_version=second.version)
    assert listed(store) == []


def test_listing_by_prefix(store: Store) -> None:
    for key in ("a", "a-b", "a/1", "a/2/3", "ab", "b"):
        store.put(key, b"", meta={})
    assert sorted(listed(store, "a/")) == ["a/1", "a/2/3"]
    assert sorted(listed(store, "a")) == ["a", "a-b", "a/1", "a/2/3", "ab"]
    assert listed(store, "a/2/3") == ["a/2/3"]
    assert listed(store, "nothing/") == []
    if store.facts.lists_in_order:
        assert listed(store) == ["a", "a-b", "a/1", "a/2/3", "ab", "b"]


def test_a_listing_has_several_pages(store: Store) -> None:
    innermost(store).page_keys = 100  # a folder has no pages
    keys = [f"d{number % 7}/k{number:04d}" for number in range(330)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"", meta={}), keys))
    assert sorted(listed(store)) == sorted(keys)


def test_copy(store: Store) -> None:
    if not store.facts.copy:
        return
    version = store.put("a", b"one", meta=META).version
    copied = store.copy("a", ".preflight/trash/a", if_version=version)
    assert copied.size == 3
    assert content(store, ".preflight/trash/a", if_version=copied.version) == b"one"
    assert dict(store.head(".preflight/trash/a").meta) == META
    with pytest.raises(NotFound):
        store.copy("nothing", "b")


def test_parts(store: Store) -> None:
    first, second = b"a" * (5 * 1024 * 1024), b"tail"
    upload = store.start_upload("big", meta=META)
    parts = [store.put_part("big", upload, 2, second), store.put_part("big", upload, 1, first)]
    assert listed(store) == []
    known = store.list_parts("big", upload)
    assert [(part.number, part.size) for part in known] == [(1, len(first)), (2, 4)]
    info = store.finish_upload("big", upload, sorted(parts, key=lambda part: part.number))
    assert info.size == len(first) + 4
    head = store.head("big")
    assert (head.version, head.size, dict(head.meta)) == (info.version, info.size, META)
    assert content(store, "big", if_version=info.version) == first + second
    with pytest.raises(NotFound):
        store.list_parts("big", upload)


def test_a_part_may_be_sent_again(store: Store) -> None:
    upload = store.start_upload("a", meta={})
    store.put_part("a", upload, 1, b"wrong")
    part = store.put_part("a", upload, 1, b"right")
    store.finish_upload("a", upload, [part])
    assert content(store, "a") == b"right"


def test_an_aborted_upload_leaves_nothing(store: Store) -> None:
    upload = store.start_upload("a", meta={})
    store.put_part("a", upload, 1, b"x")
    store.abort_upload("a", upload)
    store.abort_upload("a", upload)
    assert listed(store) == []
    with pytest.raises(NotFound):
        store.list_parts("a", upload)


def test_finishing_an_upload_compares(store: Store) -> None:
    if store.facts.writes is not Writes.FULL:
        return
    store.put("a", b"theirs", meta={})
    upload = store.start_upload("a", meta={})
    part = store.put_part("a", upload, 1, b"ours")
    with pytest.raises(PreconditionFailed):
        store.finish_upload("a", upload, [part], only_if=ABSENT)
    assert content(store, "a") == b"theirs"


ODD_KEYS = [
    "white space/ü/💾 x",
    "dir/",
    "a//b",
    "/lead",
    "../up",
    "a/../b",
    "./c",
    "new\nline",
    "tab\tand\x01control",
    "carriage\rreturn",
    "q?x=1&y=#z",
    "p%41x%2F",
    "plus+x",
    "quote'\"<xml>&amp;",
    "back\\slash",
    "n" * 300,
    "trail ",
    " lead",
    "trail.",
    "colon:x*|",
    "e\u0301",
    "\u00e9",
    "..",
    "...",
    "‛80",
    "~tilde[bra]{ce}",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_an_odd_key_is_stored_exactly_or_refused_by_name(store: Store, key: str) -> None:
    store.put("bystander", b"untouched", meta={})
    store.put("a/b", b"untouched", meta={})
    body = b"" if key.endswith("/") else b"odd"
    refused: Unsupported | None = None
    try:
        put = store.put(key, body, meta=META)
    except Unsupported as error:
        refused = error
    if refused is not None:
        assert key in str(refused)
        assert sorted(listed(store)) == ["a/b", "bystander"]
    else:
        assert sorted(listed(store)) == sorted(["a/b", "bystander", key])
        assert content(store, key, if_version=put.version) == body
        kept = dict(store.head(key).meta)
        assert kept == META or (key.endswith("/") and kept == {})  # SeaweedFS drops a directory marker's
        assert store.get_range(key, 0, 2) == body[:2]
        store.delete(key)
        assert sorted(listed(store)) == ["a/b", "bystander"]
    assert content(store, "a/b") == b"untouched"


def test_a_key_that_is_both_file_and_prefix(store: Store) -> None:
    for key in ("blue/x", "blue", "red", "red/x/y", "red/x"):
        store.put(key, key.encode(), meta={"mode": "600"})
    assert sorted(listed(store)) == ["blue", "blue/x", "red", "red/x", "red/x/y"]
    for key in ("blue", "blue/x", "red", "red/x", "red/x/y"):
        assert content(store, key) == key.encode()
        assert dict(store.head(key).meta) == {"mode": "600"}
    store.delete("blue")
    store.delete("red/x")
    assert sorted(listed(store)) == ["blue/x", "red", "red/x/y"]


def test_only_errors_of_ours_leave(store: Store) -> None:
    for key in ("", "x" * 2000, "surrogate\udc80", "nul\0byte"):
        with suppress(SyncError):
            store.put(key, b"", meta={})


class FullDisk(io.BytesIO):
    """A local file whose disk has no room."""

    def write(self, chunk: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_local_disk_is_not_the_servers_fault(store: Store) -> None:
    store.put("a", b"12345", meta={})
    with pytest.raises(DiskFull):
        store.get("a", FullDisk())


def test_a_local_file_that_is_gone_is_not_the_servers_fault(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Unstable):
        store.put("a", tmp_path / "gone", meta={})
    assert listed(store) == []


def test_requests_are_counted(store: Store) -> None:
    store.put("a", b"12345", meta={})
    before = store.meter.requests()
    store.put("a", b"67890", meta={})
    after = store.meter.requests()
    assert {verb: after[verb] - before.get(verb, 0) for verb in after if after[verb] != before.get(verb, 0)} == {
        "put": 1
    }
    store.get("a", io.BytesIO())
    assert store.meter.transferred() == {"sent": 10, "received": 5}


def test_infos_are_comparable(store: Store) -> None:
    put = store.put("a", b"one", meta=META)
    assert isinstance(put, ObjectInfo)
    assert store.head("a").version == next(iter(store.list())).version == put.version
