"""One regular file, open: read at places, and known to have held still."""

from __future__ import annotations

import os

from sync.clock import Clock
from sync.errors import Unstable
from sync.tree import Entry

RACY_NS = 20_000_000  # the kernel stamps files by its timer tick: at most 10 ms, doubled


def entry_of(st: os.stat_result, extra: int = 0) -> Entry:
    """The entry of a stat result."""
    return Entry(st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, extra)


class OpenFile:
    """A regular file, open."""

    def __init__(self, fd: int, path: str, clock: Clock) -> None:
        self._fd = fd
        self._path = path
        self._clock = clock
        self.entry = entry_of(os.fstat(fd))

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reading`."""
        pieces: list[bytes] = []
        wanted = length
        while wanted:
            piece = os.pread(self._fd, wanted, offset)
            if not piece:
                raise Unstable("The file became shorter while it was read", where=self._path)
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self) -> None:
        """See `Reading`."""
        if entry_of(os.fstat(self._fd)) != self.entry:
            raise Unstable("The file changed while it was read", where=self._path)

    def dress(self, mtime_ns: int, mode: int) -> Entry:
        """Give it another mode and time; the entry it has then."""
        os.fchmod(self._fd, mode)
        os.utime(self._fd, ns=(mtime_ns, mtime_ns))
        return entry_of(os.fstat(self._fd))

    def is_racy(self) -> bool:
        """See `Reading`."""
        age_ns = int(self._clock.now() * 1e9) - self.entry.mtime_ns
        return 0 <= age_ns < RACY_NS
