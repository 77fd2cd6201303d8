"""The folder that is saved: can it be written, has its disk room, is the disk fast enough for a restore?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preflight.checks import Broken, Check, Context, Lane, Reading
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity

MIB = 1024 * 1024
GIB = 1024 * MIB
WRITE_BYTES = 64 * MIB  # bounded: enough to leave the page cache's first burst, little against any quota
BLOCK_BYTES = 4 * MIB
WRITE_S = 1.5
ROOM_BYTES = 512 * MIB  # below this much free room nobody should write 64 MiB for a test


def measure_writable(context: Context) -> Reading:
    """Seconds to create, write, fsync, rename, read back and delete one small file in the data folder.

    Raises Broken when any of it is refused: then nothing could be restored or edited here.
    """
    started = context.clock.monotonic()
    body = b"preflight was here\n"
    try:
        with _scratch(context.data_dir) as folder:
            path, final = folder / "write.tmp", folder / "write"
            with path.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path, final)
            if final.read_bytes() != body:
                raise Broken(f"{context.data_dir} returned other bytes than were written", blame=Blame.NODE)
    except OSError as error:
        raise Broken(
            f"the data folder {context.data_dir} cannot be written: {error.strerror or type(error).__name__}",
            blame=Blame.IMAGE,
            advice="make PREFLIGHT_DATA_DIR a folder that this user may write, on a disk that is not read-only or full",
        ) from error
    return Reading(context.clock.monotonic() - started, detail={"folder": str(context.data_dir)})


def measure_free(context: Context) -> Reading:
    """Bytes that an ordinary user may still write on the data folder's disk."""
    place = _existing(context.data_dir)
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        raise Unmeasured(f"the disk of {place} does not tell its size ({error.strerror})") from error
    if usage.total == 0:
        raise Unmeasured(f"{place} is on no disk that has a size")
    return Reading(float(usage.free), detail={"total_bytes": usage.total, "folder": str(place)})


def measure_write(context: Context) -> Reading:
    """Bytes a second of sequential writing with fsync, over at most 64 MiB or 1.5 s."""
    try:
        if shutil.disk_usage(_existing(context.data_dir)).free < ROOM_BYTES:
            raise Unmeasured("the disk is too full to test its speed")
        block = context.rng.randbytes(BLOCK_BYTES)
        with _scratch(context.data_dir) as folder, (folder / "speed").open("wb", buffering=0) as file:
            started = context.clock.monotonic()
            written, took_s = 0, 0.0
            while written < WRITE_BYTES and took_s < WRITE_S and not context.stopped.is_set():
                written += file.write(block)
                os.fdatasync(file.fileno())
                took_s = context.clock.monotonic() - started
    except OSError as error:
        raise Unmeasured(f"writing to {context.data_dir} failed: {error.strerror}") from error
    return Reading(written / max(took_s, 1e-6), detail={"written_bytes": written, "took_s": round(took_s, 3)})


@contextmanager
def _scratch(data_dir: Path) -> Iterator[Path]:
    """A folder of ours inside the data folder (sync leaves `.preflight` alone), removed afterwards."""
    ours = data_dir / ".preflight"
    ours.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="check-", dir=ours, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _existing(folder: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


CHECKS = (
    Check(
        name="data.writable",
        title="Data folder: write and read back",
        unit="s",
        lane=Lane.DISK,
        deadline_s=5.0,
        measure=measure_writable,
        why="Everything else is in vain where the folder cannot be written.",
        limit=Limit(
            at_most=3.0,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice="the disk answers slowly; saving and kernels will too",
            why="A fsync on a worn consumer disk takes up to some 100 ms; 3 s is beyond any healthy disk.",
        ),
    ),
    Check(
        name="disk.free",
        title="Free disk space",
        unit="B",
        lane=Lane.DISK,
        measure=measure_free,
        every_s=60.0,
        why="A full disk stops the restore, and exceeding the requested disk ends a Salad instance.",
        limit=Limit(
            at_least=1.0 * GIB,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice="ask for more storage in the container group, or remove files",
            why="JupyterLab and pip's caches want some hundred MB; less than 1 GiB ends in errors soon. It only warns: "
            "how much you need is yours to say, and a limit of yours makes a smaller disk a reason for another node.",
        ),
    ),
    Check(
        name="disk.write",
        title="Disk write speed",
        unit="B/s",
        lane=Lane.DISK,
        deadline_s=5.0,
        measure=measure_write,
        why="Restores and checkpoints go through this disk.",
        limit=Limit(
            at_least=20e6,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice="expect slow restores and checkpoints on this node",
            why="Below what a ten-year-old hard disk writes in sequence (80 MB/s and more), so only sick disks warn.",
        ),
    ),
)
