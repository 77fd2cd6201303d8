"""Progress bars of restoring and saving, on a terminal only; they read the status document like everybody else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sync.status import State, Status, read_status

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_S = 0.25


@contextmanager
def shown(state_dir: Path) -> Iterator[None]:
    """Show bars on stderr while the block runs; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    over = threading.Event()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    thread = threading.Thread(target=_follow, args=(bars, state_dir, over), name="sync-progress", daemon=True)
    with bars:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=2.0)


def _follow(bars: Progress, state_dir: Path, over: threading.Event) -> None:
    task = bars.add_task("starting", total=None)
    while not over.wait(EVERY_S):
        status = read_status(state_dir)
        if status is not None:
            text, done, total = line(status)
            bars.update(task, description=text, completed=done, total=total)


def line(status: Status) -> tuple[str, int, int | None]:
    """(text, bytes done, bytes in all) for the bar."""
    restore = status.restore
    if status.state is State.RESTORING:
        total = "" if restore.files_total is None else f" of {restore.files_total}"
        return f"restored {restore.files_done}{total} files", restore.bytes_done, restore.bytes_total
    if status.pending_files:
        return f"saving {status.pending_files} files", status.bytes_sent, status.bytes_sent + status.pending_bytes
    return status.state.value, 0, None
