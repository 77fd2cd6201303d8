"""JupyterLab's save: it copies the file to its twin `.~name`, truncates the file, writes it, removes the twin.

A process that dies in between leaves the good copy only in the twin. What is torn is never uploaded; when the twin has
been there for longer than any save takes, it becomes the file again.
"""

from __future__ import annotations

import json
import logging
from hashlib import blake2b

from sync.errors import SyncError
from sync.names import OURS, conflict_path, join, split, stamp
from sync.tree import Kind
from sync.work import World

log = logging.getLogger(__name__)

ABANDONED_S = 15.0  # a save of 100 MB takes about ten seconds


def twin_of(path: str) -> str:
    """Where JupyterLab keeps the old copy while it writes."""
    folder, name = split(path)
    return join(folder, f".~{name}")


def is_torn(path: str, body: bytes) -> bool:
    """Whether the content is what an interrupted save leaves: nothing, or a notebook that is no JSON."""
    if not body:
        return True
    if not path.endswith(".ipynb"):
        return False
    try:
        json.loads(body)
    except ValueError:
        return True
    return False


def is_abandoned(path: str, world: World) -> bool:
    """Whether the save that left the twin cannot be under way any more."""
    found, here = world.files.entry(twin_of(path)), world.files.entry(path)
    if found is None:
        return False
    return is_long_ago(max(found.ctime_ns, here.ctime_ns if here else 0), world)


def is_long_ago(ctime_ns: int, world: World) -> bool:
    """Whether a save that last did something then is over.

    A stamp from the future is of a clock that was set back since: it would hold a restore up until it is reached.
    """
    return abs(world.clock.now() - ctime_ns / 1e9) >= ABANDONED_S


def mend(path: str, world: World) -> bool:
    """Put an abandoned twin's good content in the place of a torn file; False when there was nothing to mend."""
    files, twin = world.files, twin_of(path)
    temp = "twin-" + blake2b(path.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    try:
        found = files.entry(twin)
        here = files.entry(path)
        if found is None or found.kind is not Kind.FILE:
            return False
        if not is_abandoned(path, world):
            return False
        with files.open(twin) as reading:
            good = reading.read_at(0, reading.entry.size)
            reading.check()
        torn = b""
        if here is not None:
            with files.open(path) as reading:
                torn = reading.read_at(0, reading.entry.size)
                here = reading.entry
        if is_torn(path, good) or not is_torn(path, torn):
            return False
        with files.temp(temp) as file:
            rest = memoryview(good)
            while rest:
                rest = rest[file.write(rest) :]
        files.settle()  # the twin goes next: what takes its place must not be lost with the power
        if torn and here is not None:  # half of the newest words may be in it
            files.move(path, conflict_path(path, world.machine, world.clock.now()))
            here = None
        files.publish(temp, path, mtime_ns=found.mtime_ns, mode=found.permissions, expect=here)
        files.move(twin, f"{OURS}/removed/{stamp(world.clock.now())}/{twin}")
    except (OSError, SyncError):
        files.discard(temp)
        return False
    log.warning("An interrupted save was undone from its twin", extra={"path": path})
    return True
