"""The named cases of watching and reading the folder: what other tools missed, tore or followed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from sync.errors import Transient
from sync.plan import Guard
from sync.status import State
from tests.support.rig import Rig
from tests.support.synced import tree_of


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A node whose folder is empty and restored."""
    return Rig(tmp_path).work()


def restored(rig: Rig, name: str = "elsewhere") -> Rig:
    """Another node that restores the same bucket."""
    return Rig(rig.top, name=name, clock=rig.clock).work()


def git(folder: Path, *argv: str) -> str:
    """Run git in `folder` as nobody in particular."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", *argv]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


def test_dir_moved_in(rig: Rig, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for number in range(50):
        (outside / "deep").mkdir(parents=True, exist_ok=True)
        (outside / "deep" / str(number)).write_text("x")
    outside.rename(rig.data / "inside")
    rig.engine.mark("")
    rig.work()
    assert rig.objects() == {f"inside/deep/{n}" for n in range(50)}


def test_dir_moved_out(rig: Rig, tmp_path: Path) -> None:
    rig.write("keep.txt", "k")
    for number in range(10):
        rig.write(f"d/e/{number}", "x")
    rig.sync()
    (rig.data / "d").rename(tmp_path / "taken")
    rig.engine.mark("")
    rig.rest(3).work()
    assert rig.objects() == {"keep.txt"}
    assert len([k for k in rig.objects(ours=True) if "/trash/" in k]) == 10


def test_rename_chain_a_b_c_within_debounce(rig: Rig) -> None:
    rig.write("a", "content")
    rig.sync()
    puts = rig.store.count("put")
    (rig.data / "a").rename(rig.data / "b")
    (rig.data / "b").rename(rig.data / "c")
    rig.sync()
    assert rig.objects() == {"c"}
    assert rig.store.count("put") == puts
    assert not [k for k in rig.objects(ours=True) if "trash" in k]


def test_two_files_swap_their_names(rig: Rig) -> None:
    rig.write("a", "first")
    rig.write("b", "second")
    rig.sync()
    (rig.data / "a").rename(rig.data / "t")
    (rig.data / "b").rename(rig.data / "a")
    (rig.data / "t").rename(rig.data / "b")
    rig.sync()
    assert (rig.object("a"), rig.object("b")) == (b"second", b"first")


def test_a_renamed_folder_of_many_files_uploads_nothing(rig: Rig) -> None:
    for number in range(200):
        rig.write(f"old/sub{number % 7}/{number}", f"c{number}")
    rig.sync()
    puts = rig.store.count("put")
    (rig.data / "old").rename(rig.data / "new")
    rig.sync()
    assert rig.objects() == {f"new/sub{n % 7}/{n}" for n in range(200)}
    assert rig.store.count("put") == puts
    assert rig.status().held_count == 0


def test_replace_dir_by_symlink_quickly(rig: Rig, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "x").write_text("outside")
    rig.write("d/x", "inside")
    rig.write("other", "o")
    rig.sync()
    shutil.rmtree(rig.data / "d")
    (rig.data / "d").symlink_to(outside)
    rig.engine.mark("d")
    rig.engine.mark("")
    rig.rest(3).work()
    assert rig.objects() == {"d", "other"}
    assert rig.object("d") == os.fsencode(outside)
    assert (outside / "x").read_text() == "outside"
    copy = restored(rig)
    assert os.readlink(copy.data / "d") == str(outside)


def test_jupyter_truncate_write_save(rig: Rig) -> None:
    notebook = rig.write("nb.ipynb", '{"cells": [1]}')
    rig.sync()
    twin = rig.data / ".~nb.ipynb"
    shutil.copy2(notebook, twin)
    notebook.write_text("")
    rig.engine.mark("")
    rig.rest(5)
    assert rig.object("nb.ipynb") == b'{"cells": [1]}'
    notebook.write_text('{"cells": [1, 2')
    rig.engine.mark("")
    rig.rest(5)
    assert rig.object("nb.ipynb") == b'{"cells": [1]}'
    notebook.write_text('{"cells": [1, 2]}')
    twin.unlink()
    rig.engine.mark("", "nb.ipynb")
    rig.work()
    assert rig.object("nb.ipynb") == b'{"cells": [1, 2]}'
    assert rig.objects() == {"nb.ipynb"}


def test_jupyter_truncates_while_the_upload_reads(rig: Rig) -> None:
    """The scan saw a good state; the save begins before the worker reads."""
    notebook = rig.write("nb.ipynb", '{"cells": [1]}')
    rig.sync()
    notebook.write_text('{"cells": [1, 2]}')
    real = rig.files.open
    fired: list[bool] = []

    @contextlib.contextmanager
    def truncating(path: str):  # type: ignore[no-untyped-def]
        if path == "nb.ipynb" and not fired:
            fired.append(True)
            shutil.copy2(notebook, rig.data / ".~nb.ipynb")
            notebook.write_text("")
        with real(path) as reading:
            yield reading

    rig.files.open = truncating  # type: ignore[method-assign]
    rig.engine.rescan()
    rig.rest(3)
    assert fired
    assert rig.object("nb.ipynb") == b'{"cells": [1]}'
    notebook.write_text('{"cells": [1, 2, 3]}')
    (rig.data / ".~nb.ipynb").unlink()
    rig.sync()
    assert rig.object("nb.ipynb") == b'{"cells": [1, 2, 3]}'


@pytest.mark.parametrize("torn", ["", '{"cells": [1, 2'])
@pytest.mark.parametrize("restarts", [True, False])
def test_jupyter_killed_mid_save_recover_from_twin(rig: Rig, torn: str, restarts: bool) -> None:
    notebook = rig.write("n/nb.ipynb", '{"cells": [1]}')
    rig.sync()
    (rig.data / "n" / ".~nb.ipynb").write_text('{"cells": [1, "newer"]}')
    notebook.write_text(torn)
    rig.clock.jumped_s = 100
    if restarts:
        rig.next_life()
    else:
        rig.engine.rescan()
    rig.rest(100).work()
    assert rig.read("n/nb.ipynb") == '{"cells": [1, "newer"]}'
    assert rig.object("n/nb.ipynb") == b'{"cells": [1, "newer"]}'
    assert not (rig.data / "n" / ".~nb.ipynb").exists()
    assert not [k for k in rig.objects() if ".~" in k]
    kept = [rig.object(k) for k in rig.objects() if "conflict" in k]
    assert kept == ([torn.encode()] if torn else [])


def test_vim_backup_rename(rig: Rig) -> None:
    rig.write("a.py", "old")
    rig.sync()
    (rig.data / "a.py").rename(rig.data / "a.py~")
    rig.write("a.py", "new")
    (rig.data / "a.py~").unlink()
    rig.write(".a.py.swp", "swap")
    rig.sync()
    assert rig.objects() == {"a.py"}
    assert rig.object("a.py") == b"new"


def test_git_checkout_older_mtime_same_size(rig: Rig) -> None:
    path = rig.write("a.py", "x = 1\n")
    rig.sync()
    path.write_text("x = 2\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    rig.sync()
    assert rig.object("a.py") == b"x = 2\n"


def test_same_size_and_same_mtime_is_seen_too(rig: Rig) -> None:
    path = rig.write("a.py", "x = 1\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    rig.sync()
    path.write_text("x = 2\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    rig.sync()
    assert rig.object("a.py") == b"x = 2\n"


def test_mmap_writer_no_close(rig: Rig) -> None:
    """A file that never rests is saved within the bound all the same, and its last state in the end."""
    path = rig.write("live.bin", b"\0" * 1000)
    rig.sync()
    puts = rig.store.count("put")
    for number in range(200):
        with open(path, "r+b") as file:
            file.write(bytes([number]) * 1000)
        rig.engine.mark("")
        rig.rest(0.02)
    assert rig.store.count("put") > puts
    rig.sync()
    assert rig.object("live.bin") == bytes([199]) * 1000


def test_append_only_log_forever(rig: Rig) -> None:
    """A growing log costs about its own size per second of upload, not its size per line."""
    path = rig.write("train.log", b"line\n" * 400_000)  # 2 MB
    rig.sync()
    sent = rig.store.meter.transferred()["sent"]
    for _ in range(120):
        with open(path, "ab") as file:
            file.write(b"another line\n")
        rig.engine.mark("", "train.log")
        rig.rest(0.5)
    rate = (rig.store.meter.transferred()["sent"] - sent) / 60.0
    assert rate < 1.3 * 1024 * 1024
    rig.sync()
    assert rig.object("train.log") == path.read_bytes()


def test_torch_save_20gb_slow_write(rig: Rig) -> None:
    """A checkpoint that is written for minutes goes up once (20 MB stand for the 20 GB)."""
    path = rig.data / "model.pt"
    for number in range(40):
        with open(path, "ab") as file:
            file.write(bytes([number]) * 512 * 1024)
        rig.engine.mark("", "model.pt")
        rig.rest(1.0)
        if number > 17:  # from 8 MiB on it is no small file any more
            assert rig.store.count("start_upload") == 0
    rig.rest(5).work()
    assert rig.store.count("finish_upload") == 1
    assert rig.object("model.pt") == path.read_bytes()
    assert rig.store.count("put") <= 8  # while it still looked small


@pytest.mark.parametrize("size", [1000, 20 * 1024 * 1024])
def test_file_changes_during_upload(rig: Rig, size: int) -> None:
    """The bucket never holds a mix: each object is a state that the file had."""
    path = rig.write("f.bin", b"a" * size)
    states = {b"a" * size}
    verb = "put_part" if size > 10_000 else "put"
    left = [2]

    def scribble(key: str) -> None:
        if key == "f.bin" and left[0]:
            left[0] -= 1
            path.write_bytes(bytes([98 + left[0]]) * size)
            states.add(path.read_bytes())
            rig.engine.mark("", "f.bin")

    rig.store.before[verb] = scribble
    published: list[bytes] = []

    def look(key: str) -> None:
        if key == "f.bin":
            published.append(rig.object("f.bin") or b"")

    rig.store.after["put"] = rig.store.after["finish_upload"] = look
    rig.sync()
    rig.rest(5).work()
    assert left == [0]
    assert set(published) <= states
    assert rig.object("f.bin") == path.read_bytes()


def test_file_deleted_during_upload(rig: Rig) -> None:
    path = rig.write("f.txt", "short life")
    rig.store.before["put"] = lambda key: path.unlink(missing_ok=True) if key == "f.txt" else None
    rig.sync()
    rig.sync()
    assert rig.objects() == set()


def test_edit_while_same_file_uploading(rig: Rig) -> None:
    path = rig.write("f.txt", "one")
    fired: list[bool] = []

    def edit(key: str) -> None:
        if key == "f.txt" and not fired:
            fired.append(True)
            path.write_text("two, and longer")
            rig.engine.mark("", "f.txt")

    rig.store.before["put"] = edit
    rig.sync()
    assert rig.object("f.txt") == b"two, and longer"


def test_hardlinks(rig: Rig) -> None:
    path = rig.write("a", "same inode")
    os.link(path, rig.data / "b")
    rig.sync()
    assert rig.object("a") == rig.object("b") == b"same inode"
    path.write_text("changed")
    rig.sync()
    assert rig.object("b") == b"changed"


def test_fifo_socket_device_skipped(rig: Rig) -> None:
    os.mkfifo(rig.data / "fifo")
    rig.write("file", "f")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(rig.data, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/sock")
        os.close(folder)
        rig.sync()
    assert rig.objects() == {"file"}
    assert rig.status().state is State.SAVED


def test_unreadable_file_0000(rig: Rig) -> None:
    """Others go on, the path is named. (Root reads everything, so the refusal is played.)"""
    rig.write("secret", "s").chmod(0)
    rig.write("open", "o")
    real = rig.files.open

    def refuse(path: str) -> object:
        if path == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    rig.files.open = refuse  # type: ignore[method-assign, assignment]
    rig.engine.rescan()
    rig.rest(5)
    assert rig.objects() == {"open"}
    problem = next(p for p in rig.status().problems if p["path"] == "secret")
    assert "permission denied" in str(problem["why"])
    rig.files.open = real  # type: ignore[method-assign]
    rig.rest(70).work()
    assert rig.object("secret") == b"s"


def test_unreadable_folder_deletes_nothing(rig: Rig) -> None:
    for number in range(5):
        rig.write(f"d/sub/{number}", "x")
    rig.write("top", "t")
    rig.sync()
    real = rig.files.scan

    def refuse(folder: str) -> object:
        if folder.startswith("d"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    rig.files.scan = refuse  # type: ignore[method-assign, assignment]
    rig.engine.rescan()
    rig.rest(30)
    assert len(rig.objects()) == 6
    assert "d" in {str(p["path"]) for p in rig.status().problems}
    rig.files.scan = real  # type: ignore[method-assign]
    rig.sync()
    assert rig.status().problems == ()
    assert len(rig.objects()) == 6


NAMES = [b"caf\xe9", b"\xff\xfe", "‛literal".encode(), "‛‛".encode(), b"mixed \xc3\xa9 \xe9"]


@pytest.mark.parametrize("name", NAMES)
def test_non_utf8_name(rig: Rig, name: bytes) -> None:
    with open(os.path.join(os.fsencode(rig.data), name), "wb") as file:
        file.write(name)
    rig.sync()
    assert tree_of(restored(rig).data) == tree_of(rig.data)


ODD = [
    "line\nbreak",
    "tab\there",
    "\U0001f600",
    "trailing ",
    " leading",
    "a*b?c",
    "per%cent",
    "quote'\"",
    "back\\s",
    "#",
]


@pytest.mark.parametrize("name", ODD)
def test_name_with_newline_tab_emoji_trailing_space(rig: Rig, name: str) -> None:
    rig.write(f"{name}/{name}", name)
    rig.sync()
    assert tree_of(restored(rig).data) == tree_of(rig.data)


def test_symlink_loop(rig: Rig) -> None:
    (rig.data / "d").mkdir()
    (rig.data / "d" / "up").symlink_to("..")
    (rig.data / "self").symlink_to("self")
    rig.sync()
    assert rig.objects() == {"d/up", "self"}
    assert tree_of(restored(rig).data) == tree_of(rig.data)


def test_broken_symlink(rig: Rig) -> None:
    (rig.data / "l").symlink_to("nowhere")
    rig.sync()
    assert rig.object("l") == b"nowhere"
    assert os.readlink(restored(rig).data / "l") == "nowhere"


def test_symlink_to_outside(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("secret")
    (rig.data / "l").symlink_to(tmp_path / "passwords")
    rig.sync()
    assert rig.object("l") == os.fsencode(tmp_path / "passwords")
    assert not any(b"secret" in (rig.object(k) or b"") for k in rig.objects())


def test_a_link_in_the_bucket_leads_nobody_out(tmp_path: Path) -> None:
    """A link and a key below it: what is fetched must not land where the link leads."""
    victim = tmp_path / "victim"
    victim.mkdir()
    rig = Rig(tmp_path)
    rig.store.inner.put("l", os.fsencode(victim), meta={"symlink": "1"})
    rig.foreign("l/owned", "gotcha")
    rig.work(until=lambda: rig.engine.restored)
    rig.rest(5)
    assert list(victim.iterdir()) == []


def test_root_dir_deleted(rig: Rig) -> None:
    for number in range(5):
        rig.write(f"f{number}", "x")
    rig.sync()
    shutil.rmtree(rig.data)
    rig.engine.rescan()
    rig.work(until=lambda: rig.engine.is_idle() and (rig.data / "f0").exists())
    assert len(rig.objects()) == 5
    assert len(list(rig.data.glob("f*"))) == 5


def test_root_remounted_empty(rig: Rig, tmp_path: Path) -> None:
    """Another file system appeared in the folder's place: nothing is deleted, everything is restored."""
    for number in range(5):
        rig.write(f"f{number}", "x")
    rig.sync()
    rig.data.rename(tmp_path / "unmounted")
    rig.data.mkdir()
    rig.next_life().work()
    assert len(rig.objects()) == 5
    assert len(list(rig.data.glob("f*"))) == 5


def test_rm_rf_star_by_user(rig: Rig) -> None:
    for number in range(80):
        rig.write(f"d{number % 4}/f{number}", f"c{number}")
    rig.sync()
    for path in rig.data.iterdir():
        if path.name != ".preflight":
            shutil.rmtree(path)
    rig.engine.rescan()
    rig.rest(60)
    status = rig.status()
    assert status.state is State.HELD
    assert status.held_count == 80
    assert len(rig.objects()) == 80
    rig.write("new.txt", "uploads go on")
    rig.engine.rescan()
    rig.rest(5)
    assert rig.object("new.txt") == b"uploads go on"
    rig.engine.is_released = True
    rig.rest(5).work()
    assert rig.objects() == {"new.txt"}
    trash = {k.split("/", 3)[3] for k in rig.objects(ours=True) if k.startswith(".preflight/trash/")}
    assert trash == {f"d{n % 4}/f{n}" for n in range(80)}


def test_what_was_released_does_not_count_against_the_next_delete(tmp_path: Path) -> None:
    rig = Rig(tmp_path).work()
    for number in range(120):
        rig.write(f"many/{number}", f"content {number}")
    for name in "abcdef":
        rig.write(name, f"one of a few: {name}")
    rig.sync()
    shutil.rmtree(rig.data / "many")
    rig.engine.rescan()
    rig.rest(60)
    assert rig.status().held_count == 120
    rig.engine.is_released = True
    rig.rest(5).work()
    (rig.data / "a").unlink()
    (rig.data / "b").unlink()
    rig.sync()
    assert rig.objects() == {"c", "d", "e", "f"}


def test_a_folder_that_was_renamed_again_and_again_does_not_count_against_the_next_delete(tmp_path: Path) -> None:
    rig = Rig(tmp_path).work()
    for number in range(120):
        rig.write(f"many0/{number}", f"content {number}")
    rig.sync()
    for number in range(3):
        (rig.data / f"many{number}").rename(rig.data / f"many{number + 1}")
        rig.sync()
    assert rig.store.count("copy") == 360
    (rig.data / "many3" / "7").unlink()
    rig.sync()
    assert len(rig.objects()) == 119


def test_held_deletes_go_ahead_by_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path, guard=Guard(5, 0.5), guard_release_s=3600.0).work()
    for number in range(10):
        rig.write(f"f{number}", "x")
    rig.sync()
    for number in range(9):
        (rig.data / f"f{number}").unlink()
    rig.engine.rescan()
    rig.rest(600)
    assert rig.status().state is State.HELD
    rig.rest(3700).work()
    assert rig.objects() == {"f9"}


def test_held_deletes_that_come_back_are_no_longer_held(rig: Rig, tmp_path: Path) -> None:
    for number in range(60):
        rig.write(f"d/f{number}", "x")
    rig.sync()
    (rig.data / "d").rename(tmp_path / "away")
    rig.engine.rescan()
    rig.rest(10)
    assert rig.status().state is State.HELD
    (tmp_path / "away").rename(rig.data / "d")
    rig.sync()
    assert rig.status().state is State.SAVED
    assert len(rig.objects()) == 60


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_clock_jumps_1day_mtime_future(rig: Rig, jump_s: float) -> None:
    path = rig.write("a", "one")
    rig.sync()
    rig.clock.jumped_s = jump_s
    path.write_text("two!")
    os.utime(path, (rig.clock.now() + 10 * 86_400, rig.clock.now() + 10 * 86_400))
    started = rig.clock.added_s
    rig.engine.mark("", "a")
    rig.work(until=lambda: rig.object("a") == b"two!")
    assert rig.clock.added_s - started < 3.0
    rig.work()
    assert rig.status().epoch == 1


def test_tmp_file_created_deleted_in_50ms(rig: Rig) -> None:
    before = len(rig.store.log)
    path = rig.write("scratch.tmp", "x")
    rig.engine.mark("", "scratch.tmp")
    path.unlink()
    rig.engine.mark("")
    rig.rest(1)
    assert len(rig.store.log) == before


def test_empty_dir_create_delete(rig: Rig) -> None:
    (rig.data / "e" / "f").mkdir(parents=True)
    rig.engine.mark("")
    rig.work()
    assert rig.objects() == {"e/f/"}
    assert (restored(rig).data / "e" / "f").is_dir()
    rig.write("e/f/file", "now it has content")
    rig.sync()
    assert rig.objects() == {"e/f/file"}
    shutil.rmtree(rig.data / "e")
    rig.sync()
    assert rig.objects() == set()


def test_chmod_x_only(rig: Rig) -> None:
    path = rig.write("run.sh", "#!/bin/sh\n")
    rig.sync()
    path.chmod(0o755)
    rig.sync()
    assert (restored(rig).data / "run.sh").stat().st_mode & 0o777 == 0o755


def test_mtime_only_touch(rig: Rig) -> None:
    """A small file's new mtime goes along; a large file is not sent again for it."""
    small, large = rig.write("small", "s"), rig.write("large", b"l" * (2 * 1024 * 1024))
    rig.sync()
    puts = rig.store.count("put")
    for path in (small, large):
        os.utime(path, (1_234_567_890, 1_234_567_890))
    rig.sync()
    assert rig.store.count("put") == puts + 1
    assert (restored(rig).data / "small").stat().st_mtime == 1_234_567_890
    rig.sync()
    assert rig.store.count("put") == puts + 1


def test_100k_small_files_pip_install_in_data(rig: Rig) -> None:
    """Many files at once: every one goes up once, and the notebook saved meanwhile does not wait for them."""
    for number in range(2000):
        rig.write(f"venv/lib/p{number % 40}/m{number}.py", f"x = {number}\n")
    rig.engine.mark("")
    rig.step()
    rig.clock.added_s += 0.1
    rig.engine.turn()
    rig.clock.added_s += 0.2
    rig.write("thesis.ipynb", "{}")
    rig.engine.mark("", "thesis.ipynb")
    rig.clock.added_s += 0.06
    rig.work()
    order = [key for verb, key in rig.store.log if verb == "put" and not key.startswith(".preflight")]
    assert len(order) == len(set(order)) == 2001
    assert order.index("thesis.ipynb") < 200


def test_git_gc_during_sync(rig: Rig) -> None:
    """At every moment of the push, what is in the bucket restores to a repository that `git fsck` accepts."""
    repo = rig.data / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    for number in range(6):
        (repo / f"f{number}.txt").write_text(f"content {number}\n" * 50)
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", f"commit {number}")
    rig.sync()
    checked: list[str] = []

    def check(key: str) -> None:
        if key.startswith("repo/.git/") and len(checked) < 12:
            checked.append(key)
            copy = rig.top / f"check{len(checked)}"
            for found in rig.objects():
                if found.startswith("repo/") and not found.endswith("/"):
                    where = copy / found
                    where.parent.mkdir(parents=True, exist_ok=True)
                    where.write_bytes(rig.object(found) or b"")
            for empty in ("refs/heads", "refs/tags", "objects"):
                (copy / "repo/.git" / empty).mkdir(parents=True, exist_ok=True)
            git(copy / "repo", "fsck", "--full", "--no-dangling")
            shutil.rmtree(copy)

    (repo / "new.txt").write_text("one more\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "one more")
    rig.store.after["put"] = rig.store.after["delete"] = check
    rig.sync()
    git(repo, "gc", "-q", "--prune=now")
    rig.sync()
    assert checked
    rig.store.after.clear()
    copy = restored(rig)
    git(copy.data / "repo", "fsck", "--full")
    assert git(copy.data / "repo", "log", "--oneline") == git(repo, "log", "--oneline")
    assert git(copy.data / "repo", "status", "--porcelain") == ""


def test_sqlite_wal_writer(rig: Rig) -> None:
    """A database in use restores to a consistent one, with what was committed before the save."""
    with contextlib.closing(sqlite3.connect(rig.data / "study.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("CREATE TABLE t (n INTEGER)")
        db.commit()
        for number in range(5):
            db.execute("INSERT INTO t VALUES (?)", (number,))
            db.commit()
            rig.sync()
        assert rig.objects() == {"study.db"}
        copy = restored(rig)
        with contextlib.closing(sqlite3.connect(copy.data / "study.db")) as other:
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert other.execute("SELECT COUNT(*) FROM t").fetchone() == (5,)


def test_sqlite_with_a_rollback_journal_under_way(rig: Rig) -> None:
    with contextlib.closing(sqlite3.connect(rig.data / "s.sqlite", isolation_level=None)) as db:
        db.execute("CREATE TABLE t (n INTEGER, pad TEXT)")
        db.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 500) for n in range(500)])
        rig.sync()
        db.execute("PRAGMA cache_size=5")
        db.execute("BEGIN")
        db.execute("UPDATE t SET pad = 'y' || pad")  # spills into the file: a plain copy would be torn
        rig.engine.rescan()
        rig.rest(20)
        with contextlib.closing(sqlite3.connect(restored(rig, "b").data / "s.sqlite")) as other:
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert other.execute("SELECT COUNT(*) FROM t WHERE pad LIKE 'y%'").fetchone() in ((0,),)
        db.execute("COMMIT")
    rig.sync()
    with contextlib.closing(sqlite3.connect(restored(rig, "c").data / "s.sqlite")) as other:
        assert other.execute("SELECT COUNT(*) FROM t WHERE pad LIKE 'y%'").fetchone() == (500,)


def test_an_ignored_file_is_not_deleted_because_it_became_ignored(rig: Rig) -> None:
    rig.write("data.bin", "d")
    rig.write("sub/more.bin", "d")
    rig.write("code.py", "c")
    rig.sync()
    rig.write(".preflightignore", "*.bin\n")
    rig.sync()
    rig.write("other.bin", "never saved")
    (rig.data / "code.py").write_text("edited")
    rig.sync()
    rig.rest(400)
    assert rig.objects() == {"data.bin", "sub/more.bin", "code.py", ".preflightignore"}
    rig.next_life().work()
    assert rig.objects() == {"data.bin", "sub/more.bin", "code.py", ".preflightignore"}


def test_default_ignores_never_go_up(rig: Rig) -> None:
    for path in (".ipynb_checkpoints/a-checkpoint.ipynb", "__pycache__/x.pyc", ".~a.ipynb", "m.pyc", ".cache/x",
                 "deep/.ipynb_checkpoints/b", ".jupyter_ystore.db", "x.db-wal", ".DS_Store"):  # fmt: skip
        rig.write(path, "x")
    for path in ("a.ipynb", ".hidden", ".config/x", "lab-journal", "x.tmp", "a~", "venv/lib/x.py"):
        rig.write(path, "{}")
    rig.sync()
    assert rig.objects() == {"a.ipynb", ".hidden", ".config/x", "lab-journal", "x.tmp", "a~", "venv/lib/x.py", "deep/"}


def test_a_failed_put_is_no_lost_edit(rig: Rig) -> None:
    rig.write("a", "one")
    left = [3]

    def fail(key: str) -> None:
        if key == "a" and left[0]:
            left[0] -= 1
            raise Transient("reset")

    rig.store.before["put"] = fail
    rig.sync()
    assert rig.object("a") == b"one"
