"""A wall clock of its own for a real process, set by the test while it runs (tests/fakes/fakeclock.c)."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "fakes" / "fakeclock.c"


class FakeClock:
    """Give `environ` to the process; `set` moves its clock against the machine's, at once."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "fakeclock.so"
        self._file = folder / "clock-offset"
        argv = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE)]
        subprocess.run(argv, check=True, timeout=60)
        self._file.write_bytes(struct.pack("@q", 0))

    def set(self, offset_s: int) -> None:
        """Seconds from the machine's time."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as view:
            view[:8] = struct.pack("@q", offset_s)

    @property
    def environ(self) -> dict[str, str]:
        """What makes a process use it."""
        return {"LD_PRELOAD": str(self._library), "PREFLIGHT_FAKE_CLOCK": str(self._file)}
