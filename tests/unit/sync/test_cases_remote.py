"""The named cases of the bucket's side and of two nodes: what is ambiguous, refused, contested or late."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sync.errors import Denied, LeaseLost, Misconfigured, PreconditionFailed, Throttled, Transient
from sync.lease import Lease
from sync.names import LEASE
from sync.status import State
from sync.stores import ObjectInfo, Writes
from tests.support.rig import Died, Rig
from tests.support.synced import tree_of


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A node whose folder is empty and restored."""
    return Rig(tmp_path).work()


def once(error: Exception, key: str) -> object:
    """A hook that raises `error` for the first request about `key`."""
    left = [1]

    def fail(asked: str) -> None:
        if asked == key and left[0]:
            left[0] -= 1
            raise error

    return fail


def copies(rig: Rig) -> list[str]:
    """Conflict copies in the bucket."""
    return sorted(k for k in rig.objects() if "(conflict " in k)


@pytest.mark.parametrize("size", [10, 12 * 1024 * 1024])
def test_timeout_after_commit(rig: Rig, size: int) -> None:
    """The answer to a write was lost: the same content is no conflict."""
    verb = "put" if size < 1000 else "finish_upload"
    rig.store.after[verb] = once(Transient("timeout"), "a")  # type: ignore[assignment]
    rig.write("a", b"x" * size)
    rig.sync()
    assert rig.objects() == {"a"}
    assert rig.status().conflicts == ()


def test_412_from_our_own_retried_put(rig: Rig) -> None:
    path = rig.write("a", "one")
    rig.sync()
    rig.store.after["put"] = once(Transient("timeout"), "a")  # type: ignore[assignment]
    path.write_text("two")
    rig.sync()
    path.write_text("three")
    rig.sync()
    assert rig.object("a") == b"three"
    assert copies(rig) == []


def test_409_conditional_conflict_retry(rig: Rig) -> None:
    """409 (another conditional write is under way) is retried like any passing trouble."""
    rig.store.before["put"] = once(Transient("409 ConditionalRequestConflict"), "a")  # type: ignore[assignment]
    rig.write("a", "one")
    rig.sync()
    assert rig.object("a") == b"one"
    assert copies(rig) == []


def test_503_slowdown_storm_aimd(rig: Rig) -> None:
    """The pace halves while the server asks for it, and comes back."""
    rng = random.Random(5)
    windows: list[float] = []

    def storm(key: str) -> None:
        windows.append(rig.engine.window)
        if len(windows) < 60 and rng.random() < 0.7:
            raise Throttled("503 SlowDown", after_s=1.0)

    rig.store.before["put"] = storm
    for number in range(40):
        rig.write(f"f{number}", "x")
    rig.engine.rescan()
    rig.work(at_most_s=3000)
    assert min(windows) <= 2.0
    assert len(rig.objects()) == 40
    for number in range(100):
        rig.write(f"g{number}", "x")
    rig.sync()
    assert rig.engine.window > 4.0


@pytest.mark.parametrize("stated", [None, 'W/"weak"', '"quoted"', "bare"])
def test_etag_missing_weak_quoted(rig: Rig, stated: str | None) -> None:
    """Versions are opaque: whatever the provider sends comes back to it untouched."""
    import dataclasses

    seen: list[str | None] = []
    real_put, real_head = rig.store.inner.put, rig.store.inner.head
    version = stated or "unversioned"

    def put(key, body, *, meta, only_if):  # type: ignore[no-untyped-def]
        seen.append(only_if.if_version)
        current = real_head(key).version if only_if.if_version is not None else None
        only = dataclasses.replace(only_if, if_version=current)
        return dataclasses.replace(real_put(key, body, meta=meta, only_if=only), version=version)

    rig.store.inner.put = put  # type: ignore[method-assign]
    path = rig.write("a", "one")
    rig.sync()
    path.write_text("two")
    rig.sync()
    assert seen[-1] == version
    assert rig.object("a") == b"two"


def test_bit_flip_in_transit(tmp_path: Path) -> None:
    old = Rig(tmp_path, name="old")
    old.write("a", "content")
    old.work()
    rig = Rig(tmp_path, name="new")
    real = rig.store.inner.get
    left = [2]

    def flipped(key, into, *, if_version=None):  # type: ignore[no-untyped-def]
        import hashlib
        import io
        from dataclasses import replace

        body = io.BytesIO()
        info = real(key, body, if_version=if_version)
        raw = bytearray(body.getvalue())
        info = replace(info, md5=hashlib.md5(raw).digest())
        if key == "a" and left[0]:
            left[0] -= 1
            raw[2] ^= 4
        into.write(raw)
        return info

    rig.store.inner.get = flipped  # type: ignore[method-assign]
    rig.work()
    assert rig.read("a") == "content"
    assert left == [0]


def test_mpu_expired_uploadid_no_such_upload(rig: Rig) -> None:
    """A noted upload that the provider has forgotten begins anew."""
    body = random.Random(2).randbytes(20 * 1024 * 1024)
    rig.write("big", body)

    def die(key: str) -> None:
        if rig.store.count("put_part") == 2:
            raise Died

    rig.store.before["put_part"] = die
    rig.engine.rescan()
    with pytest.raises(Died):
        rig.rest(10)
    while rig.engine.inbox:
        rig.engine._apply(rig.engine.inbox.popleft(), 0.0)
    notes = rig.journal.uploads()
    assert set(notes) == {"big"}
    import json

    rig.store.inner.abort_upload("big", json.loads(notes["big"])["upload"])
    rig.next_life().work()
    assert rig.object("big") == body


def test_a_killed_upload_goes_on_where_it_was(rig: Rig) -> None:
    body = random.Random(3).randbytes(40 * 1024 * 1024)
    rig.write("big", body)

    def die(key: str) -> None:
        if rig.store.count("put_part") == 4:
            raise Died

    rig.store.before["put_part"] = die
    rig.engine.rescan()
    with pytest.raises(Died):
        rig.rest(10)
    while rig.engine.inbox:
        rig.engine._apply(rig.engine.inbox.popleft(), 0.0)
    rig.next_life().work()
    assert rig.store.count("put_part") == 2
    assert rig.object("big") == body
    assert rig.journal.uploads() == {}


def test_abort_denied_by_iam(rig: Rig) -> None:
    """Without the right to abort, a file that changed while it went up is saved all the same."""

    def deny(key: str) -> None:
        raise Denied("AbortMultipartUpload is not allowed", where=key)

    rig.store.before["abort_upload"] = deny
    path = rig.write("big", b"a" * (20 * 1024 * 1024))
    left = [1]

    def scribble(key: str) -> None:
        if left[0]:
            left[0] -= 1
            path.write_bytes(b"b" * (20 * 1024 * 1024))
            rig.engine.mark("", "big")

    rig.store.before["put_part"] = scribble
    rig.sync()
    assert rig.object("big") == path.read_bytes()


def test_bucket_deleted(rig: Rig) -> None:
    rig.write("a", "one")
    rig.sync()

    def gone(key: str) -> None:
        raise Misconfigured("The bucket does not exist", hint="check the bucket's name")

    for verb in ("put", "get", "head", "list", "copy", "delete"):
        rig.store.before[verb] = gone
    rig.write("b", "two")
    rig.engine.rescan()
    rig.rest(120)
    status = rig.status()
    assert status.state is State.FAILED
    assert status.pending == ("b",)
    assert rig.read("a") == "one"
    rig.store.before.clear()
    rig.work()
    assert rig.objects() == {"a", "b"}


def test_quota_exceeded(rig: Rig) -> None:
    """Refused writes are told; what is deleted to make room is deleted."""
    rig.write("a", "one")
    rig.write("b", "bee")
    rig.sync()

    def full(key: str) -> None:
        if key == "big":
            raise Denied("The quota is used up", where=key)

    rig.store.before["put"] = full
    rig.write("big", "too much")
    rig.engine.rescan()
    rig.rest(30)
    (rig.data / "a").unlink()
    rig.engine.rescan()
    rig.rest(90)
    assert rig.objects() == {"b"}
    assert "big" in rig.status().pending


def test_conditional_header_silently_ignored(tmp_path: Path) -> None:
    """A store that enforces nothing is declared so: each write looks first, and both contents survive."""
    rig = Rig(tmp_path, facts={"writes": Writes.NONE, "delete_if_match": False})
    rig.store.ignores_conditions = True
    rig.work()
    path = rig.write("a", "one")
    rig.sync()
    rig.foreign("a", "somebody else's")
    path.write_text("two")
    rig.sync()
    assert rig.object("a") == b"two"
    assert [rig.object(k) for k in copies(rig)] == [b"somebody else's"]


@pytest.mark.parametrize("writes", [Writes.FULL, Writes.CREATE_ONLY, Writes.NONE])
def test_conditional_501(tmp_path: Path, writes: Writes) -> None:
    """The same life on each class of store."""
    rig = Rig(tmp_path, facts={"writes": writes, "delete_if_match": writes is Writes.FULL})
    rig.work()
    path = rig.write("a", "one")
    rig.write("b", "bee")
    rig.sync()
    path.write_text("two")
    (rig.data / "b").unlink()
    rig.sync()
    assert rig.objects() == {"a"}
    rig.foreign("a", "foreign")
    path.unlink()
    rig.sync()
    assert rig.object("a") == b"foreign"  # an edit beats a delete
    assert rig.read("a") == "foreign"


def test_both_edit_same_file(rig: Rig) -> None:
    path = rig.write("thesis.tex", "common")
    rig.sync()
    rig.foreign("thesis.tex", "theirs")
    path.write_text("mine")
    rig.sync()
    assert rig.object("thesis.tex") == b"mine"
    (copy,) = copies(rig)
    assert copy.startswith("thesis (conflict node ")
    assert copy.endswith("Z).tex")
    assert rig.object(copy) == b"theirs"
    assert rig.read(copy) == "theirs"
    (conflict,) = rig.status().conflicts
    assert (conflict["path"], conflict["copy"]) == ("thesis.tex", copy)
    (rig.data / copy).unlink()
    rig.sync()
    assert rig.status().conflicts == ()
    assert rig.objects() == {"thesis.tex"}


def test_both_made_the_same_new_file(rig: Rig) -> None:
    rig.foreign("same", "equal")
    rig.write("same", "equal")
    rig.sync()
    assert rig.objects() == {"same"}
    assert rig.status().conflicts == ()


@pytest.mark.parametrize("who_edits", ["there", "here"])
def test_edit_vs_delete(rig: Rig, who_edits: str) -> None:
    path = rig.write("a", "one")
    rig.write("other", "o")
    rig.sync()
    if who_edits == "there":
        rig.foreign("a", "edited there")
        path.unlink()
    else:
        rig.store.inner.delete("a")
        path.write_text("edited here")
    rig.sync()
    expected = b"edited there" if who_edits == "there" else b"edited here"
    assert rig.object("a") == expected
    assert path.read_bytes() == expected


def test_sigterm_10s_with_2gb_dirty(rig: Rig) -> None:
    """Small first; the list of what could not be saved is itself saved in the lease record."""
    rig.write("big1.bin", b"1" * (12 * 1024 * 1024))
    rig.write("big2.bin", b"2" * (12 * 1024 * 1024))
    for number in range(10):
        rig.write(f"n{number}.ipynb", "{}")

    def slow(key: str) -> None:
        raise Transient("no time left")

    rig.store.before["start_upload"] = slow
    rig.engine.is_hurried = True
    rig.engine.rescan()
    rig.rest(5)
    assert rig.objects() == {f"n{n}.ipynb" for n in range(10)}
    unsaved = sorted(rig.engine.agenda.pending)
    rig.lease.renew(unsaved, len(unsaved), released=True)
    after = Rig(rig.top, name="next", clock=rig.clock)
    after.work()
    assert after.status().left_by_previous == ("big1.bin", "big2.bin")


def test_node_vanish_then_new_node(rig: Rig) -> None:
    """The next node names what was dirty, without an extra request a save."""
    rig.write("a", "one")
    rig.sync()
    rig.rest(40)

    def stuck(key: str) -> None:
        raise Transient("the uplink is gone for this one")

    rig.store.before["put"] = lambda key: stuck(key) if key == "lost.txt" else None
    rig.write("lost.txt", "never arrives")
    rig.write("saved.txt", "arrives")
    rig.engine.rescan()
    rig.rest(20)
    after = Rig(rig.top, name="next", clock=rig.clock)
    after.work()
    assert after.status().left_by_previous == ("lost.txt",)
    assert tree_of(after.data).keys() == {"a", "saved.txt"}


def test_two_nodes_start_same_second(tmp_path: Path) -> None:
    """One writer: whichever took the lease last; the other learns it before it writes on an old claim."""
    first = Rig(tmp_path, name="one")
    second = Rig(tmp_path, name="two", clock=first.clock)
    for _ in range(6):
        first.step()
        second.step()
    first.work()
    second.work()
    first.write("from-first", "1")
    second.write("from-second", "2")
    first.clock.added_s += 16
    first.engine.rescan()
    second.engine.rescan()
    second.rest(5)
    first.rest(5)
    fenced = [r for r in (first, second) if r.status().state is State.FENCED]
    assert len(fenced) == 1
    loser = fenced[0]
    winner = second if loser is first else first
    assert winner.objects() == {"from-second" if winner is second else "from-first"}
    stranded = [k for k in winner.objects(ours=True) if k.startswith(f".preflight/stranded/{loser.name}/")]
    assert len(stranded) == 1


@pytest.mark.parametrize("writes", [Writes.CREATE_ONLY, Writes.NONE])
def test_two_nodes_start_same_second_where_the_server_cannot_compare(tmp_path: Path, writes: Writes) -> None:
    rigs = [Rig(tmp_path, name=n, facts={"writes": writes, "delete_if_match": False}) for n in ("one", "two")]
    leases = [Lease(r.store, r.clock, r.name, f"instance-{r.name}") for r in rigs]
    other: list[BaseException] = []

    def meanwhile(seconds: float) -> None:
        rigs[0].clock.added_s += seconds
        if not other:
            other.append(LeaseLost("begun"))
            rigs[1].clock.sleep = lambda s: None  # type: ignore[method-assign]
            leases[1].take()

    rigs[0].clock.sleep = meanwhile  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        leases[0].take()
    leases[1].permit()
    with pytest.raises(LeaseLost):
        leases[0].permit()


def test_zombie_paused_1h_resumes(tmp_path: Path) -> None:
    """SIGSTOP for an hour, a new node meanwhile: no write of the old one lands where the new one works."""
    old = Rig(tmp_path, name="old").work()
    old.write("a", "one")
    old.sync()
    new = Rig(tmp_path, name="new", clock=old.clock).work()
    old.clock.added_s += 3600
    (new.data / "a").write_text("the new node's")
    new.sync()
    before = {k: new.object(k) for k in new.objects()}
    (old.data / "a").write_text("the zombie's")
    old.write("b", "zombie too")
    old.engine.mark("", "a")
    old.rest(60)
    assert {k: new.object(k) for k in new.objects()} == before
    assert old.status().state is State.FENCED
    assert new.object(".preflight/stranded/old/a") == b"the zombie's"
    assert new.object(".preflight/stranded/old/b") == b"zombie too"


def test_zombie_wakes_between_permit_and_put(tmp_path: Path) -> None:
    """The pause hits after the last look at the lease: the version compared by the server still protects."""
    old = Rig(tmp_path, name="old").work()
    path = old.write("a", "one")
    old.sync()
    fired: list[bool] = []
    new: list[Rig] = []

    def pause(key: str) -> None:
        if key == "a" and not fired:
            fired.append(True)
            new.append(Rig(tmp_path, name="new", clock=old.clock).work())
            (new[0].data / "a").write_text("the new node's")
            new[0].sync()

    old.store.before["put"] = pause
    path.write_text("the zombie's")
    old.engine.rescan()
    old.clock.added_s += 1
    old.rest(120)
    assert new[0].object("a") == b"the new node's"
    assert old.status().state is State.FENCED
    assert new[0].object(".preflight/stranded/old/a") == b"the zombie's"


def test_lease_lost_by_network_partition_keep_editing(tmp_path: Path) -> None:
    old = Rig(tmp_path, name="old").work()
    old.write("a", "one")
    old.sync()

    def cut(key: str) -> None:
        raise Transient("no route")

    for verb in ("put", "get", "head", "list", "copy", "delete"):
        old.store.before[verb] = cut
    old.write("during.txt", "made while cut off")
    old.engine.rescan()
    old.rest(100)
    assert old.status().state is State.OFFLINE
    new = Rig(tmp_path, name="new", clock=old.clock).work()
    new.write("a", "the new node's")
    new.sync()
    old.store.before.clear()
    (old.data / "a").write_text("edited while cut off")
    old.engine.rescan()
    old.rest(120)
    assert old.status().state is State.FENCED
    assert new.object("a") == b"the new node's"
    assert new.object(".preflight/stranded/old/a") == b"edited while cut off"
    assert new.object(".preflight/stranded/old/during.txt") == b"made while cut off"
    old.write("later.txt", "and on it goes")
    old.engine.rescan()
    old.rest(10)
    assert new.object(".preflight/stranded/old/later.txt") == b"and on it goes"


def test_lease_costs_one_request_in_15_s(rig: Rig) -> None:
    path = rig.write("a", "0")
    rig.sync()
    start = len([k for v, k in rig.store.log if k == LEASE])
    for number in range(60):
        path.write_text(f"{number:04d}")
        rig.engine.mark("", "a")
        rig.rest(1.0)
    asked = [k for v, k in rig.store.log if k == LEASE]
    assert len(asked) - start <= 5
    rig.rest(40)
    quiet = len(rig.store.log)
    rig.rest(400)
    assert len(rig.store.log) == quiet


def test_replayed_same_seed_twice_identical_trace(tmp_path: Path) -> None:
    """Here with a folder and a bucket; the simulation does it with everything."""
    traces = []
    for run in ("one", "two"):
        rng = random.Random(11)
        rig = Rig(tmp_path / run, name="n") if (tmp_path / run).mkdir() is None else None
        assert rig is not None
        rig.work()
        for number in range(30):
            name = f"f{rng.randrange(8)}"
            if rng.random() < 0.3 and (rig.data / name).exists():
                (rig.data / name).unlink()
            else:
                rig.write(name, f"{number}")
            if rng.random() < 0.5:
                rig.sync()
        rig.sync()
        traces.append([entry for entry in rig.store.log if "trash" not in entry[1]])
    assert traces[0] == traces[1]


@pytest.mark.parametrize("side", ["before", "after"])
def test_sigkill_at_every_await(tmp_path: Path, side: str) -> None:
    """The process dies at the n-th request (before the server saw it, or before its answer came), for every n."""
    edits = {"a.ipynb": "{}", "d/b.txt": "b", "d/big.bin": "B" * 9_000_000, "moved/to": "renamed content"}
    for number in range(200):
        rig = Rig(tmp_path / f"{side}{number}") if (tmp_path / f"{side}{number}").mkdir() is None else None
        assert rig is not None
        rig.work()
        rig.write("gone.txt", "to be deleted")
        rig.write("moved/from", "renamed content")
        rig.sync()
        start = len(rig.store.log)

        def die(key: str, rig: Rig = rig, at: int = start + number + 1) -> None:
            if len(rig.store.log) >= at:
                raise Died

        for verb in ("put", "copy", "delete", "head", "get", "list", "start_upload", "put_part", "finish_upload"):
            getattr(rig.store, side)[verb] = die
        (rig.data / "gone.txt").unlink()
        (rig.data / "moved/from").rename(rig.data / "moved/to")
        for path, text in edits.items():
            rig.write(path, text)
        try:
            rig.sync()
        except Died:
            rig.next_life().work().sync()
        else:
            assert number > 10
            return
        assert {k: rig.object(k) for k in rig.objects()} == {k: v.encode() for k, v in edits.items()}, number
        assert rig.status().conflicts == ()
    raise AssertionError("the scenario never ended")


def test_a_folder_whose_key_has_a_content_takes_nothing_from_it(rig: Rig) -> None:
    """Somebody wrote an object `d/` with a content: no empty folder replaces that, and people are told."""
    shadow = {"d/": ObjectInfo("d/", 5, '"theirs"', 0.0)}
    rig.sync()
    original = rig.store.inner.head
    rig.store.inner.head = lambda key: shadow.get(key) or original(key)  # type: ignore[method-assign]

    def refuse(key: str) -> None:
        assert rig.store.count("put") < 20
        if key == "d/":
            raise PreconditionFailed("it is there")

    rig.store.before["put"] = refuse
    (rig.data / "d").mkdir()
    rig.engine.rescan()
    rig.work(until=lambda: "d/" in rig.engine.problems)
    assert "content of its own" in rig.engine.problems["d/"]
    assert rig.engine.outage is None


def test_an_object_that_keeps_changing_holds_up_nothing_else(rig: Rig) -> None:
    rig.sync()

    def change(key: str) -> None:
        if key == "a":
            rig.foreign("a", f"theirs {len(rig.store.log)}")

    rig.store.before["put"] = change
    rig.write("a", "mine")
    rig.engine.rescan()
    rig.work(until=lambda: "a" in rig.engine.problems)
    assert "keeps changing" in rig.engine.problems["a"]
    assert rig.engine.outage is None
    rig.write("b", "b")
    rig.engine.rescan()
    rig.work(until=lambda: rig.object("b") == b"b")
    rig.store.before.clear()
    rig.sync()
    assert rig.object("a") == b"mine"
    assert "a" not in rig.engine.problems
