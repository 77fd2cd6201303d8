"""What the simulation found, each as the smallest case of it."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from sync.agenda import RETRY_MOST_S, UNREST_MOST_S, Agenda
from sync.clock import SystemClock
from sync.disk import DiskFiles
from sync.engine import REPULL_AFTER_S
from sync.errors import LeaseLost, Transient
from sync.lease import TERM_S
from sync.names import LEASE, is_ours
from sync.scan import Diff, Scanner
from sync.state import Journal
from sync.status import State, Status, read_status, write_status
from sync.stores import Writes, only_over
from sync.stores.retry import Patience, Retrying
from sync.tree import Doubt, Entry, Row
from sync.work import Copy, Saved
from tests.model.simulation.bucket import Bucket
from tests.model.simulation.faults import Network
from tests.model.simulation.memory_store import Bystander, MemoryStore
from tests.support.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


class NoTime(SystemClock):
    """Waits for nothing."""

    def sleep(self, seconds: float) -> None:
        del seconds


def store(rate: float = 0.0) -> MemoryStore:
    return MemoryStore(Bucket(Writes.FULL), Bystander("test"), Network(random.Random(1), rate))


def file_entry(size: int = 5, mtime_ns: int = 1) -> Entry:
    return Entry(0o100644, size, mtime_ns, mtime_ns, 7)


def test_a_fenced_node_does_not_send_a_write_again() -> None:
    """Seed 666: a request timed out, a newer node took over meanwhile, and the retry went through."""
    broken = store()
    broken._network.partition_until_s = 1e9
    retrying = Retrying(broken, patience=Patience(attempts=5), clock=NoTime())

    def refuse(key: str) -> None:
        raise LeaseLost("a newer node took over", where=key)

    retrying.permit = refuse
    with pytest.raises(LeaseLost):
        retrying.put("a", b"late", meta={})
    with pytest.raises(LeaseLost):
        retrying.delete("a")
    assert broken.meter.requests() == {"put": 1, "delete": 1}


def test_nothing_is_looked_for_behind_a_link(tmp_path: Path) -> None:
    """Seed 9: `d` was replaced by a link to where its files went; `d/x.txt` seemed to be there still."""
    (tmp_path / "was-d").mkdir()
    (tmp_path / "was-d" / "x.txt").write_text("x")
    (tmp_path / "d").symlink_to("was-d")
    files = DiskFiles(tmp_path, SystemClock())
    assert files.entry("was-d/x.txt") is not None
    assert files.entry("d/x.txt") is None
    with pytest.raises(NotADirectoryError):
        files.scan("d")
    with pytest.raises(NotADirectoryError), files.open("d/x.txt"):
        pass


def test_a_file_that_only_looks_unfinished_is_not_asked_for_all_the_time() -> None:
    """Seed 11: an interrupted save was tried twenty times a second for ever."""
    agenda = Agenda(lambda path: None)
    agenda.update(Diff("", changed={"a.ipynb": file_entry()}), 0.0, 100.0)
    now_s, tries = 0.0, 0
    while now_s < 3600.0:
        tries += 1
        agenda.retry("a.ipynb", now_s, failed=False)
        due_s = agenda.next_due_s()
        assert due_s is not None
        now_s = due_s
        agenda.refill(now_s)
    assert tries < 3600.0 / UNREST_MOST_S + 20


def test_a_refused_delete_waits() -> None:
    """Seed 9: a delete that a person must make possible was tried at every turn."""
    agenda = Agenda(lambda path: Row(file_entry(), "v", 5, None))
    agenda.add_gone(["a"], 10.0)
    agenda.delay_gone("a", 20.0)
    assert agenda.gone["a"].since_s == 20.0 + RETRY_MOST_S


def test_a_folder_that_went_while_its_marker_was_sent(rig: Rig) -> None:
    """Seed 32: the marker stayed in the bucket for ever."""
    folder = rig.data / "f"
    folder.mkdir()
    rig.store.before["put"] = lambda key: folder.rmdir() if key == "f/" and folder.exists() else None
    rig.sync()
    rig.engine.mark("")
    rig.sync()
    assert "f/" not in rig.objects()


def test_an_empty_folder_alone_is_saved_after_the_lease_went_stale(rig: Rig) -> None:
    """Seed 339: nothing but a marker was pending, so nobody confirmed the lease, so the marker never went."""
    rig.sync()
    rig.rest(120)
    (rig.data / "empty").mkdir()
    rig.engine.mark("")
    rig.sync()
    assert "empty/" in rig.objects()


def test_the_control_thread_rests_while_it_cannot_reach_the_bucket(rig: Rig) -> None:
    """Seeds 3 and 6: with an edit waiting and no answer from the bucket, it turned without a pause."""
    rig.write("a.txt", "edit")
    rig.engine.mark("")
    rig.engine.turn()  # the lease is asked for, and no worker answers
    waits = []
    for _ in range(5):
        rig.engine.mark("")
        rig.engine.turn()
        waits.append(rig.engine.turn())
    assert min(waits) > 0.0


def test_a_folder_that_took_the_name_of_another(rig: Rig) -> None:
    """Seed 469: `mv d f` over an empty `f`: the scan of the parent saw the same names as before."""
    (rig.data / "f").mkdir()
    rig.write("d/e/x.txt", "x")
    rig.sync()
    assert rig.objects() == {"d/e/x.txt", "f/"}
    (rig.data / "d").rename(rig.data / "f")
    rig.engine.mark("")  # all that the watcher rings for
    rig.rest(3).work()
    assert rig.objects() == {"f/e/x.txt"}


def test_the_status_is_told_on_a_full_disk(tmp_path: Path) -> None:
    """Torture: the state folder shares the full disk; the child died of it, and nobody heard why."""
    at = tmp_path / "small"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", str(at)], check=True)
    try:
        write_status(at, Status(state=State.RESTORING))
        with contextlib.suppress(OSError), (at / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(512))
        write_status(at, Status(state=State.FAILED, why="The disk is full"))
        told = read_status(at)
        assert told is not None
        assert told.state is State.FAILED
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_an_upload_that_ends_after_the_folder_was_lost(rig: Rig) -> None:
    """Seed 272: its row entered the fresh journal, the empty folder lacked the file, and the object was deleted."""
    rig.write("a.txt", "a")
    rig.sync()
    rig.write("b.txt", "b")
    rig.engine.mark("")

    def lose_the_folder(key: str) -> None:
        if key == "b.txt" and rig.data.exists() and (rig.data / "b.txt").exists():
            shutil.rmtree(rig.data)
            rig.data.mkdir()
            rig.engine.mark("")
            for _ in range(6):  # past the debounce and the quiet before deletes
                rig.engine.turn()
                rig.clock.added_s += 0.5

    rig.store.after["put"] = lose_the_folder
    rig.sync()
    rig.rest(120).work()
    assert rig.objects() == {"a.txt", "b.txt"}
    assert (rig.data / "a.txt").read_text() == "a"
    assert (rig.data / "b.txt").read_text() == "b"


def test_a_clock_that_was_set_back_does_not_hold_a_restore_up(tmp_path: Path) -> None:
    """Seed 2043: a twin with a stamp of tomorrow looked like a save under way, for a day."""
    first = Rig(tmp_path, name="first")
    first.write("thesis.ipynb", '{"cells": []}')
    first.work()
    rig = Rig(tmp_path, name="second")
    rig.write("thesis.ipynb", "")
    rig.write(".~thesis.ipynb", "")
    rig.clock.jumped_s = -86_400.0
    rig.work()
    assert rig.read("thesis.ipynb") == '{"cells": []}'


@pytest.mark.parametrize("name", ["results/", "thesis.md"])
def test_what_comes_back_while_its_delete_is_on_its_way_is_saved_again(rig: Rig, name: str) -> None:
    """Seed 6001326: a scan found it as the journal had it; then the answer came, and nobody looked again."""
    rig.write("other.md", "other")
    place, away = rig.data / name.rstrip("/"), rig.top / "away"
    rig.write("thesis.md", "words")
    (rig.data / "results").mkdir()
    rig.sync().rest(3)
    assert name in rig.objects()
    place.rename(away)
    rig.engine.mark("")

    def bring_back(key: str) -> None:
        if key != name or place.exists():
            return
        away.rename(place)
        rig.engine.mark("")
        rig.engine.mark("results" if name.endswith("/") else "")
        for _ in range(6):
            rig.engine.turn()
            rig.clock.added_s += 0.1

    rig.store.before["delete"] = bring_back
    rig.work(until=lambda: name not in rig.objects())
    rig.rest(5)
    assert name in rig.objects()


def test_a_listing_that_failed_is_asked_for_again(rig: Rig) -> None:
    """Seed 6001866: what a slow predecessor wrote last was looked for once, the network failed, and that was that."""
    rig.write("mine.md", "mine")
    rig.sync()
    rig.foreign("theirs.md", "theirs")
    refusals = [Transient("gone"), Transient("gone")]

    def refuse(prefix: str) -> None:
        if refusals:
            raise refusals.pop()

    rig.store.before["list"] = refuse
    rig.engine.wants_pull = True
    rig.rest(1)
    assert len(refusals) == 1
    rig.write("mine.md", "newer")
    rig.engine.mark("", "mine.md")
    rig.rest(5)
    assert rig.object("mine.md") == b"newer", "saving goes on meanwhile"
    rig.rest(60)
    assert rig.read("theirs.md") == "theirs"


def test_a_row_of_a_conflict_copy_does_not_replace_what_its_own_upload_recorded(rig: Rig) -> None:
    """Seed 6001654: a scan found the new file and sent its mode along before the path's own answer came."""
    rig.write("a.md", "a")
    rig.sync()
    row = rig.journal.row("a.md")
    assert row is not None
    old = row._replace(version='"older"')
    rig.write("b.md", "b")
    rig.sync()
    other = rig.journal.row("b.md")
    assert other is not None
    rig.engine.post(Saved("b.md", other, was_sent=False, copies=(Copy("b.md", "a.md", 0.0, old),)))
    rig.rest(1)
    assert rig.journal.row("a.md") == row


def test_a_conflict_copy_that_did_not_arrive_is_fetched_later(rig: Rig) -> None:
    """Seed 8001043: it was kept in the bucket, the network failed, and its folder had to wait for the next restore."""
    rig.write("a.md", "a")
    rig.sync()
    rig.foreign("a.md", "theirs")
    refusals = [Transient("gone")]

    def refuse(key: str) -> None:
        if "(conflict " in key and refusals:
            raise refusals.pop()

    rig.store.before["get"] = refuse
    rig.write("a.md", "mine")
    rig.engine.mark("", "a.md")
    rig.rest(60)
    assert not refusals
    (copy,) = (path for path in rig.data.iterdir() if "(conflict " in path.name)
    assert copy.read_text() == "theirs"
    assert rig.object("a.md") == b"mine"


def test_what_rested_through_an_outage_and_moves_again_is_not_restless() -> None:
    """Seed 9000970: half of a save went up, since its file had waited for the network for more than two seconds."""
    agenda = Agenda(lambda path: None)

    def seen(now_s: float, size: int) -> float:
        agenda.update(Diff("", changed={"a": file_entry(size, int(now_s * 1e9))}), now_s, now_s)
        return agenda.pending["a"].moving_s

    assert seen(100.0, 1) == 100.0
    assert seen(185.0, 2) == 185.0
    assert seen(185.3, 3) == seen(185.6, 4) == seen(186.5, 5) == 185.0, "this one does move all the time"
    assert agenda.pending["a"].first_s == 100.0, "and has not been saved since"


def test_what_replaced_a_moved_content_is_kept_when_its_name_goes(rig: Rig) -> None:
    """Seed 1008706: the old name's content lived on under a new one; then a save of the old name came late, and what it
    had written was deleted without the trash, as if that had moved, too."""
    rig.write("draft.md", "the first")
    rig.write("other.md", "other")
    rig.sync().rest(3)
    (rig.data / "draft.md").rename(rig.data / "final.md")
    rig.engine.mark("")
    rig.work(until=lambda: "final.md" in rig.objects() and rig.engine.agenda.gone["draft.md"].moved_to)
    row = rig.journal.row("draft.md")
    assert row is not None
    info = rig.store.inner.put("draft.md", b"the second", meta={}, only_if=only_over(row.version))
    rig.journal.record("draft.md", Row(row.entry, info.version, info.size, info.md5))
    rig.work()
    rig.rest(5)
    assert "draft.md" not in rig.objects()
    kept = [key for key in rig.objects(ours=True) if key.endswith("/draft.md")]
    assert [rig.object(key) for key in kept] == [b"the second"]


def _unanswered(rig: Rig, verb: str) -> None:
    """The server does what it is asked, and its answers are lost."""

    def lose(key: str) -> None:
        if not is_ours(key):
            raise Transient("no answer came in time", where=key)

    rig.store.after[verb] = lose


def test_a_file_that_comes_back_after_a_delete_without_an_answer_is_saved(rig: Rig) -> None:
    """Found beside seed 20010535: the journal's row fitted, so it counted as saved, and its object was gone."""
    rig.write("thesis.md", "all of it")
    rig.sync().rest(3)
    aside = rig.top / "aside.md"
    (rig.data / "thesis.md").rename(aside)
    _unanswered(rig, "delete")
    rig.engine.mark("")
    rig.work(until=lambda: rig.objects() == set() and not rig.engine.busy)
    rig.store.after.clear()
    aside.rename(rig.data / "thesis.md")
    rig.engine.mark("")
    rig.rest(0.5)
    rig.work()
    assert rig.object("thesis.md") == b"all of it"
    assert rig.status().state is State.SAVED


@pytest.mark.parametrize("name", ["empty", "thesis.md"])
def test_what_came_back_is_saved_again_when_an_old_delete_comes_late(rig: Rig, name: str) -> None:
    """Seed 20010535: an empty folder came back while its marker's delete was on its way for 15 seconds."""
    path = rig.data / name
    path.mkdir() if name == "empty" else path.write_text("all of it")
    key = "empty/" if name == "empty" else name
    rig.sync().rest(3)
    path.rename(rig.top / "aside")

    def lose(key: str) -> None:
        raise Transient("no answer came in time", where=key)

    rig.store.before["delete"] = lose
    rig.engine.mark("")
    rig.work(until=lambda: key in rig.engine.doubts.deletes)
    rig.store.before.clear()
    (rig.top / "aside").rename(path)
    rig.engine.mark("")
    rig.rest(2)
    assert rig.objects() == {key}
    assert rig.status().state is State.SAVING, "a delete is on its way"
    rig.store.inner.delete(key)
    rig.work()
    assert rig.objects() == {key}
    assert rig.status().state is State.SAVED
    assert not rig.engine.doubts.deletes


def test_many_looks_leave_the_uploads_their_places(tmp_path: Path) -> None:
    """However many requests were not answered, no more are looked at in one go than there are workers."""
    rig = Rig(tmp_path, workers=4).work()
    rig.engine.doubts.add(tuple(Doubt(f"lost-{number}", 1, b"") for number in range(30)), rig.clock.monotonic())
    seen = []
    for _ in range(5):  # nobody answers between these turns
        rig.engine.turn()
        seen.append(sum(1 for verb in rig.engine.busy.values() if verb == "settle"))
    assert seen == [4] * 5
    rig.work(until=lambda: not rig.engine.doubts.open)


def test_what_is_saved_again_soon_after_a_slow_delete_is_looked_at_once_more(rig: Rig) -> None:
    """A delete that was sent twice: the first one comes after the file came back, with the same ETag."""
    rig.write("thesis.md", "all of it")
    rig.sync().rest(3)
    (rig.data / "thesis.md").unlink()

    def twice(key: str) -> None:
        rig.clock.added_s += 12.0

    rig.store.before["delete"] = twice
    rig.engine.mark("")
    rig.work()
    assert rig.objects() == set()
    rig.store.before.clear()
    rig.write("thesis.md", "all of it")
    rig.engine.mark("")
    rig.rest(2)
    assert rig.objects() == {"thesis.md"}
    rig.store.inner.delete("thesis.md")
    rig.work()
    assert rig.objects() == {"thesis.md"}


def test_the_content_of_before_a_save_without_an_answer_is_saved_again(rig: Rig) -> None:
    """Found beside seed 20010535: the journal knew the content and the time, so nothing went over what had come."""
    rig.write("thesis.md", "as it was")
    rig.sync().rest(3)
    aside = rig.top / "aside.md"
    (rig.data / "thesis.md").rename(aside)
    rig.write("thesis.md", "a try")
    _unanswered(rig, "put")
    rig.engine.mark("", "thesis.md")
    rig.work(until=lambda: rig.object("thesis.md") == b"a try" and not rig.engine.busy)
    rig.store.after.clear()
    aside.rename(rig.data / "thesis.md")
    rig.engine.mark("", "thesis.md")
    rig.work()
    assert rig.object("thesis.md") == b"as it was"
    assert rig.objects() == {"thesis.md"}, "both were ours: no conflict"


@pytest.mark.parametrize("writes", [Writes.CREATE_ONLY, Writes.NONE])
def test_a_claim_that_landed_late_may_have_overwritten_a_holder(tmp_path: Path, writes: Writes) -> None:
    """Seed 13001970: its node had looked before the other one's claim was there, so it knew of nobody and never
    fetched what that one still wrote within its term."""
    facts = {"writes": writes, "delete_if_match": False}
    old = Rig(tmp_path, name="old", facts=facts)
    new = Rig(tmp_path, name="new", facts=facts, clock=old.clock)

    def holds_up(key: str) -> None:
        assert key == LEASE
        del new.store.before["put"]
        old.work()
        old.clock.added_s += 8.0

    new.store.before["put"] = holds_up
    new.work()
    old.write("late.md", "within the term")
    old.engine.mark("")
    old.work(until=lambda: "late.md" in old.objects())
    new.rest(TERM_S + REPULL_AFTER_S + 10)
    assert new.read("late.md") == "within the term"


class Unreadable(DiskFiles):
    """A disk with a folder that cannot be listed (for root every real one can)."""

    def scan(self, folder: str) -> list[tuple[str, Entry]]:
        found = super().scan(folder)
        if folder == "results/raw":
            raise PermissionError(13, "Permission denied", folder)
        return found


def test_a_folder_that_could_not_be_read_and_then_went_is_gone(tmp_path: Path) -> None:
    """Seed 1008883: its objects stayed in the bucket for ever, and so did the complaint."""
    (tmp_path / "data" / "results" / "raw").mkdir(parents=True)
    scanner_files = Unreadable(tmp_path / "data", SystemClock())
    journal = Journal.at(tmp_path / "journal.sqlite")
    journal.record("results/raw/a.csv", Row(file_entry(), '"1"', 5, None))
    scanner = Scanner(scanner_files, journal)

    def walk() -> list[str]:
        number = scanner.begin_walk()
        folders = [""]
        for folder in folders:
            diff = scanner.scan(folder)
            folders += [f"{folder}/{name}" if folder else name for name in diff.subfolders]
        return list(scanner.unseen(number))

    assert walk() == []
    assert walk() == []
    assert list(scanner.problems) == ["results/raw"]
    shutil.rmtree(tmp_path / "data" / "results")
    assert walk() == ["results/raw/a.csv"]
    assert scanner.problems == {}
    journal.close()
