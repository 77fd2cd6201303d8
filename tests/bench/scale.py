"""Many files: a burst, the idle price, the full rescan."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sync.clock import SystemClock
from sync.disk import DiskFiles
from sync.scan import Scanner
from sync.state import Journal
from sync.status import read_status
from sync.stores.folder import version_of
from sync.tree import Entry, Kind
from sync.tree import Row as Known
from tests.bench.peers import BULK_TOOLS, OURS, Bucket, Tool, file_store
from tests.bench.processes import BIN, cpu_s, rss_bytes, run
from tests.bench.rows import Row
from tests.bench.save import child_of, edit_and_wait, make_tree, our_child, s3_client, wait_saved

SYNC_PASSES = (Tool("rclone"), Tool("aws s3 sync"))


@dataclass(frozen=True, slots=True)
class Growth:
    """By tool, against the number of files: megabytes resident, and CPU seconds to notice and upload one save."""

    files: int
    memory_mb: dict[str, float]
    save_cpu_s: dict[str, float]


def burst(work: Path, bucket: Bucket, files: int) -> Row:
    """`files` new files at once beside the running child, against the best bulk uploader on the same tree."""
    folder = work / "burst"
    folder.mkdir()
    with our_child(folder, bucket, "burst-ours") as child:
        staged = work / "burst-staged"
        make_tree(staged, files)
        started, used_s = time.monotonic(), cpu_s(child.pid)
        shutil.copytree(staged, folder / "new")
        copied = time.monotonic() - started
        state_dir = Path(f"{folder}.state")
        while (status := read_status(state_dir)) is None or status.files < files:
            if time.monotonic() - started > 900:
                raise TimeoutError("the burst was never saved")
            time.sleep(0.05)
        wait_saved(state_dir, 900, child)
        mine, used_s = time.monotonic() - started, cpu_s(child.pid) - used_s
    uploads, costs_s = {}, {}
    for tool in BULK_TOOLS:
        if tool is not OURS:
            cost = run(*tool.push(staged, bucket, f"burst-{tool.name.split()[0]}"))
            uploads[tool.name], costs_s[tool.name] = cost.wall_s, cost.cpu_s
    shutil.rmtree(folder)
    shutil.rmtree(staged)
    best = min(uploads, key=lambda name: uploads[name])
    return Row(
        f"burst of {files:,} new files, all durable",
        "<= 1.2x the best bulk uploader",
        f"{mine:.1f} s ({copied:.1f} s of copying included), {used_s:.1f} CPU s",
        f"{best}: {uploads[best]:.1f} s, {costs_s[best]:.1f} CPU s",
        f"{mine / uploads[best]:.2f}x",
        mine <= 1.2 * uploads[best],
        ", ".join(f"{name} {seconds:.1f} s" for name, seconds in uploads.items()),
        "Burst of new files, seconds until all are durable",
        {OURS.name: mine, **uploads},
    )


def idle(work: Path, bucket: Bucket, files: int, watch_s: float, saves: int = 10) -> tuple[list[Row], Growth]:
    """What the child costs while nobody edits, and for one save; and what a peer's pass over the same tree costs."""
    folder = work / f"idle-{files}"
    make_tree(folder, files)
    with our_child(folder, bucket, folder.name) as child:
        share, resident = _at_rest(child.pid, watch_s)
        client, before = s3_client(bucket), cpu_s(child.pid)
        for number in range(saves):
            notebook = folder / "d00000" / "thesis.ipynb"
            edit_and_wait(client, bucket, folder.name, notebook, folder, b"%d" % number * 4000, 60)
        one_save_s = (cpu_s(child.pid) - before) / saves
    memory, seconds = {OURS.name: resident / 1e6}, {OURS.name: one_save_s}
    for tool in SYNC_PASSES:
        cost = run(*tool.push(folder, bucket, folder.name))
        memory[tool.name], seconds[tool.name] = cost.peak_bytes / 1e6, cost.cpu_s
    shutil.rmtree(folder)
    heaviest = ", ".join(f"{name} {mb:.0f} MB" for name, mb in memory.items() if name != OURS.name)
    rows = _idle_rows(files, resident, share, watch_s, 80e6, heaviest, "peers: the peak of one pass with nothing to do")
    return rows, Growth(files, memory, seconds)


def million(work: Path, watch_s: float, files: int = 1_000_000) -> list[Row]:
    """What a child costs that starts again beside a journal of a million files.

    Uploading them would take the server of the bench half an hour. So the bucket is a folder (`file://`) that gets the
    files by hard links, and the journal is written as the uploads would have left it; the child then starts as
    after any restart: it lists the whole bucket, compares, scans, and rests.
    """
    folder, remote = work / "million", work / "million-bucket"
    folder.mkdir()
    remote.mkdir()
    environ = file_store(folder, remote)
    subprocess.run([BIN / "preflight-sync", "flush"], env=environ, check=True, capture_output=True)
    make_tree(folder, files)
    for home in folder.glob("d*"):
        shutil.copytree(home, remote / home.name, copy_function=os.link)
    (path,) = Path(environ["PREFLIGHT_STATE_DIR"], "sync").glob("journal-*.sqlite")
    journal = Journal.at(path)
    for name, entry in _walk(Scanner(DiskFiles(folder, SystemClock()), journal)):
        if entry.kind is Kind.FILE:
            version = version_of((remote / name).stat())
            journal.record(name, Known(entry, version, entry.size, hashlib.md5((folder / name).read_bytes()).digest()))
    journal.commit()
    journal.close()
    with child_of(folder, environ, 3_600) as child:
        status = read_status(Path(environ["PREFLIGHT_STATE_DIR"]))
        if status is None or status.files < files:
            raise RuntimeError(f"the child does not know its {files:,} files: {status}")
        share, resident = _at_rest(child.pid, watch_s)
    return _idle_rows(files, resident, share, watch_s, 300e6, "", "bucket: file://, started beside its journal")


def _at_rest(pid: int, watch_s: float) -> tuple[float, float]:
    """Share of a core over `watch_s` seconds, and bytes resident after them."""
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(watch_s)
    return (cpu_s(pid) - before) / (time.monotonic() - began), rss_bytes(pid)


def _idle_rows(
    files: int, resident: float, share: float, watch_s: float, goal_bytes: float, peers: str, note: str
) -> list[Row]:
    return [
        Row(
            f"idle, {files:,} files: memory",
            f"<= {goal_bytes / 1e6:.0f} MB RSS",
            f"{resident / 1e6:.0f} MB",
            peers,
            met=resident <= goal_bytes,
            note=note,
        ),
        Row(
            f"idle, {files:,} files: CPU",
            "<= 0.5 % of a core",
            f"{share:.2%}",
            met=share <= 0.005,
            note=f"over {watch_s:.0f} s",
        ),
    ]


def rescan(work: Path, files: int) -> Row:
    """A full scan of an unchanged tree against its journal, beside a bare scandir and lstat of everything."""
    folder = work / f"rescan-{files}"
    make_tree(folder, files)
    journal = Journal.at(work / "rescan.sqlite")
    scanner = Scanner(DiskFiles(folder, SystemClock()), journal)
    for path, entry in _walk(scanner):
        journal.record(path, Known(entry, "v1", entry.size, b"0" * 16))
    journal.commit()
    changed = _walk(scanner)  # compares every folder with the journal, and remembers that it agrees
    mine, floor = [], []
    for _ in range(5):
        began = time.monotonic()
        changed += _walk(scanner)
        mine.append(time.monotonic() - began)
        floor.append(_bare_walk_s(folder))
    journal.close()
    shutil.rmtree(folder)
    if changed:
        raise RuntimeError(f"an unchanged tree shows {len(changed)} changes")
    best, bare = min(mine), min(floor)
    return Row(
        f"full rescan, {files:,} files",
        "<= 0.7 s",
        f"{best:.2f} s",
        f"bare scandir + lstat: {bare:.2f} s",
        f"{best / bare:.2f}x",
        best <= 0.7,
        "best of 5, in turn",
    )


def _walk(scanner: Scanner) -> list[tuple[str, Entry]]:
    """One whole walk; what differs from the journal."""
    scanner.begin_walk()
    stack, changed = [""], []
    while stack:
        diff = scanner.scan(folder := stack.pop())
        changed += diff.changed.items()
        stack += [f"{folder}/{name}" if folder else name for name in diff.subfolders]
    return changed


def _bare_walk_s(folder: Path) -> float:
    """The floor: scandir and lstat of everything, nothing else."""
    started = time.monotonic()
    stack = [str(folder)]
    while stack:
        with os.scandir(stack.pop()) as listing:
            for item in listing:
                item.stat(follow_symlinks=False)
                if item.is_dir(follow_symlinks=False):
                    stack.append(item.path)
    return time.monotonic() - started
