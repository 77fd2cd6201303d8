"""Whole lives of a node, as real processes: save, vanish, come back elsewhere."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from sync.control import call
from sync.status import State
from tests.support.synced import Machine, tree_of
from tests.support.wait import until

Machines = Callable[..., Machine]
Bucket = Mapping[str, str]


def fill(machine: Machine, seed: int = 1) -> None:
    """A folder with everything that must survive."""
    rng = random.Random(seed)
    data = machine.data
    (data / "deep" / "er").mkdir(parents=True)
    (data / "empty" / "too").mkdir(parents=True)
    (data / "notebook.ipynb").write_text('{"cells": []}')
    (data / "zero").write_bytes(b"")
    (data / "script.sh").write_text("#!/bin/sh\n")
    (data / "script.sh").chmod(0o755)
    (data / "deep" / "er" / "big.bin").write_bytes(rng.randbytes(20 * 1024 * 1024))
    (data / "deep" / "medium").write_bytes(rng.randbytes(300_000))
    (data / "link").symlink_to("notebook.ipynb")
    (data / "broken").symlink_to("/no/such/place")
    with open(os.path.join(os.fsencode(data), b"caf\xe9 \xff.txt"), "wb") as file:
        file.write(b"not utf-8")
    (data / "tab\tnew\nline \U0001f600 ").write_text("odd name")
    os.utime(data / "notebook.ipynb", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))


def test_everything_survives_sigkill_and_a_new_folder(bucket: Bucket, machines: Machines) -> None:
    first = machines(bucket, "node-a").start()
    fill(first)
    first.saved()
    before = tree_of(first.data)
    first.kill()
    second = machines(bucket, "node-b").start()
    assert tree_of(second.data) == before
    status = second.status()
    assert status is not None
    assert status.restored
    assert status.epoch == 2


def test_one_put_a_save_no_list_no_head(bucket: Bucket, machines: Machines) -> None:
    machine = machines(bucket).start()
    notebook = machine.data / "a.ipynb"
    notebook.write_text("{}")
    machine.saved()
    before = machine.status()
    assert before is not None
    for number in range(5):
        notebook.write_text(f'{{"n": {number}}}')
        until(lambda n=number: read(machine, "a.ipynb") == f'{{"n": {n}}}'.encode(), 1.0)  # type: ignore[misc]
    machine.saved()
    call(machine.state, {"cmd": "status"}, 5)
    answer = call(machine.state, {"cmd": "status"}, 5)["status"]["requests"]
    puts = answer["put"] - before.requests["put"]
    assert puts in (5, 6)  # one a save, and at most one for the lease
    for verb in ("list", "head", "get", "copy", "delete"):
        assert answer.get(verb, 0) == before.requests.get(verb, 0), verb


def read(machine: Machine, key: str) -> bytes | None:
    """An object's content, None when it is not there."""
    import io

    from sync.errors import NotFound

    store = machine.store()
    body = io.BytesIO()
    try:
        store.get(key, body)
    except NotFound:
        return None
    finally:
        store.close()
    return body.getvalue()


def test_deletes_and_renames_reach_the_bucket(bucket: Bucket, machines: Machines) -> None:
    machine = machines(bucket)
    for number in range(30):
        (machine.data / "old").mkdir(exist_ok=True)
        (machine.data / "old" / f"{number}.txt").write_text(f"file {number}")
    (machine.data / "gone.txt").write_text("x")
    (machine.data / "stays").mkdir()
    (machine.data / "stays" / "not.txt").write_text("y")
    machine.start()
    before = call(machine.state, {"cmd": "status"}, 5)["status"]["requests"]
    (machine.data / "gone.txt").unlink()
    (machine.data / "stays" / "not.txt").unlink()  # SeaweedFS keeps a shadow of the folder that it was in
    (machine.data / "old").rename(machine.data / "new")
    until(lambda: set(machine.keys()) == {f"new/{n}.txt" for n in range(30)} | {"stays/"}, 60, machine.keys)
    machine.saved()
    after = call(machine.state, {"cmd": "status"}, 5)["status"]["requests"]
    assert after["put"] - before["put"] <= 4  # lease, empty folder; a renamed folder is copied by the server
    assert after["copy"] - before.get("copy", 0) == 32
    trash = [o.key for o in machine.store().list(".preflight/trash/")]
    assert [key.rsplit("/", 1)[1] for key in trash] == ["gone.txt", "not.txt"]


def test_what_is_written_right_after_the_restore_is_noticed_at_once(file_bucket: Bucket, machines: Machines) -> None:
    """The child waits up to ten seconds for news: the watches must be set before it waits for the first time."""
    machine = machines(file_bucket)
    machine.start(ready=False)
    until(lambda: (status := machine.status()) is not None and status.restored, 60)
    until(lambda: _watches(machine) > 0, 8)


def _watches(machine: Machine) -> int:
    """Folders that the child has the kernel watch."""
    assert machine.process is not None
    open_files = Path(f"/proc/{machine.process.pid}/fdinfo")
    seen = 0
    for one in open_files.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            seen += one.read_text().count("inotify wd:")
    return seen


def test_sigterm_flushes_and_ends_with_0(bucket: Bucket, machines: Machines) -> None:
    machine = machines(bucket).start()
    (machine.data / "last.txt").write_text("words")
    assert machine.stop() == 0
    assert read(machine, "last.txt") == b"words"


def test_edits_made_while_down_are_pushed_after_a_restart_in_place(bucket: Bucket, machines: Machines) -> None:
    machine = machines(bucket)
    (machine.data / "kept.txt").write_text("kept")
    (machine.data / "edited.txt").write_text("old")
    (machine.data / "deleted.txt").write_text("bye")
    machine.start()
    machine.kill()
    (machine.data / "edited.txt").write_text("new!")
    (machine.data / "added.txt").write_text("added")
    (machine.data / "deleted.txt").unlink()
    machine.start()
    until(lambda: set(machine.keys()) == {"kept.txt", "edited.txt", "added.txt"}, 20, machine.keys)
    assert read(machine, "edited.txt") == b"new!"


def test_status_while_the_store_is_away_is_offline_and_edits_wait(file_bucket: Bucket, machines: Machines) -> None:
    machine = machines({"PREFLIGHT_STORE": "s3://lives/x", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                        "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})  # fmt: skip
    machine.start(ready=False)
    (machine.data / "mine.txt").write_text("mine")
    status = machine.reaches(State.OFFLINE)
    assert not status.restored
    assert status.why
    assert machine.stop() == 3
    assert (machine.data / "mine.txt").read_text() == "mine"
