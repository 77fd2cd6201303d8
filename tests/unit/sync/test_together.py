"""Several small files at once: what each alone would become, and nothing on a claim that ended meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from sync.disk import DiskFiles
from sync.errors import LeaseLost, SyncError, Transient
from sync.fetch import Wanted, fetch_together
from sync.push import upload_together
from sync.stores import ABSENT, ObjectInfo, Read, Store, Write, Writes, only_over
from sync.stores.file import FileStore
from sync.stores.guarded import Guarded
from sync.stores.retry import Patience, Retrying
from sync.stores.together import get_many, put_many
from sync.tree import Remote
from sync.work import Failed, Fetched, Saved, Task, Vanished, World
from tests.support.rig import Clock


class Together(FileStore):
    """A local store that takes several at once, answers in the opposite order, and fails the third."""

    asked: list[int]

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.facts = replace(self.facts, together=True)
        self.asked = []

    def put_many(self, writes: Sequence[Write]) -> Iterator[tuple[int, ObjectInfo | SyncError]]:
        self.asked.append(len(writes))
        for number, write in reversed(list(enumerate(writes))):
            if number == 2:
                yield number, Transient("the network failed", where=write.key)
            else:
                yield number, self.put(write.key, write.body, meta=write.meta, only_if=write.only_if)

    def get_many(self, reads: Sequence[Read]) -> Iterator[tuple[int, tuple[ObjectInfo, bytes] | SyncError]]:
        self.asked.append(len(reads))
        alone = cast(Store, FileStore(Path(self.url.removeprefix("file://"))))
        for number, read in reversed(list(enumerate(reads))):
            ((_, result),) = get_many(alone, [read])
            yield number, Transient("the network failed", where=read.key) if number == 2 else result


@pytest.fixture
def store(tmp_path: Path) -> Together:
    (tmp_path / "bucket").mkdir()
    return Together(tmp_path / "bucket")


@pytest.fixture
def world(tmp_path: Path, store: Together) -> World:
    (tmp_path / "data").mkdir()
    return World(DiskFiles(tmp_path / "data", Clock()), store, Clock(), "machine", lambda: None)


def tasks(world: World, tmp_path: Path, count: int) -> list[Task]:
    found = []
    for number in range(count):
        (tmp_path / "data" / f"{number}.txt").write_text(f"text {number}")
        entry = world.files.entry(f"{number}.txt")
        assert entry is not None
        found.append(Task(f"{number}.txt", entry, None))
    return found


def test_each_of_several_uploads_has_its_own_end(world: World, store: Together, tmp_path: Path) -> None:
    several = tasks(world, tmp_path, 6)
    (tmp_path / "data" / "1.txt").unlink()
    done = dict(upload_together(several, world))
    assert store.asked == [5]
    assert {number: type(outcome) for number, outcome in done.items()} == {
        0: Saved, 1: Vanished, 2: Saved, 3: Failed, 4: Saved, 5: Saved
    }  # fmt: skip
    assert sorted(info.key for info in store.list()) == ["0.txt", "2.txt", "4.txt", "5.txt"]
    assert [write.path for write in cast(Failed, done[3]).sent] == ["3.txt"]  # it may have arrived


def test_a_claim_that_ends_while_several_are_read_sends_none(world: World, store: Together, tmp_path: Path) -> None:
    permitted: list[bool] = []

    def permit() -> None:
        permitted.append(len(permitted) < 3)
        if not permitted[-1]:
            raise LeaseLost("a newer node took over")

    done = dict(upload_together(tasks(world, tmp_path, 3), replace(world, permit=permit)))
    assert [type(done[number]) for number in range(3)] == [Failed] * 3
    assert all(isinstance(cast(Failed, outcome).error, LeaseLost) for outcome in done.values())
    assert store.asked == []
    assert list(store.list()) == []


def test_each_of_several_downloads_has_its_own_end(world: World, store: Together) -> None:
    infos = [store.put(f"{number}.txt", b"text %d" % number, meta={}) for number in range(5)]
    wanted = [Wanted(info.key, Remote(info.size, info.version, info.modified, None), None) for info in infos]
    done = dict(fetch_together(wanted, world))
    assert store.asked == [5]
    assert {number: type(outcome) for number, outcome in done.items()} == {
        0: Fetched, 1: Fetched, 2: Failed, 3: Fetched, 4: Fetched
    }  # fmt: skip
    for number in (0, 1, 3, 4):
        with world.files.temp(cast(Fetched, done[number]).temp, keep=True) as file:
            assert file.read() == b"text %d" % number


def test_a_store_that_cannot_is_asked_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    store = FileStore(tmp_path / "bucket")
    done = dict(put_many(store, [Write(f"{number}", b"x", {}) for number in range(3)]))
    assert all(isinstance(info, ObjectInfo) for info in done.values())
    came = dict(get_many(store, [Read("0"), Read("none"), Read("2")]))
    assert isinstance(came[1], SyncError)
    assert [cast(tuple[ObjectInfo, bytes], came[number])[1] for number in (0, 2)] == [b"x", b"x"]


class Permits:
    """Allows `count` writes, then says that a newer node took over."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, key: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise LeaseLost("a newer node took over", where=key)


def _ends(results: Iterable[tuple[int, ObjectInfo | SyncError]]) -> dict[int, str]:
    return {number: type(result).__name__ for number, result in results}


@pytest.mark.parametrize("writes", [Writes.CREATE_ONLY, Writes.NONE])
def test_several_that_go_one_by_one_are_permitted_one_by_one(store: Together, writes: Writes) -> None:
    """Simulation's seed 30000665: the first of them took twenty seconds, and the next went up on an old claim."""
    store.facts = replace(store.facts, writes=writes)
    guarded = Guarded(store)
    guarded.permit = Permits(2 if writes is Writes.CREATE_ONLY else 3)  # what is looked at first is asked after it, too
    over = only_over(store.put("a", b"old", meta={}).version)
    wanted = [Write("a", b"new", {}, over), Write("b", b"b", {}, ABSENT)]
    assert _ends(put_many(guarded, wanted)) == {0: "ObjectInfo", 1: "LeaseLost"}
    assert {info.key for info in store.list()} == {"a"}
    assert store.asked == []


def test_of_several_only_what_may_be_sent_when_its_turn_comes_is_sent(store: Together) -> None:
    retrying = Retrying(store, clock=Clock(), patience=Patience(widest=2))
    retrying.permit = Permits(3)
    wanted = [Write(name, name.encode(), {}, ABSENT) for name in "abcd"]
    assert _ends(put_many(retrying, wanted)) == dict(enumerate(["ObjectInfo"] * 3 + ["LeaseLost"]))
    assert {info.key for info in store.list()} == {"a", "b", "c"}
    assert retrying.pace.enter(2) == 2, "what was not sent is not in flight"
