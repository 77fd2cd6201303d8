"""What is never saved: other programs' debris by default, and what the user's `.preflightignore` names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sync.names import OURS

if TYPE_CHECKING:
    import pathspec

FILE = ".preflightignore"
# Caches and twins that their programs make again; in gitignore syntax, so that the documentation can show them.
DEFAULTS = (
    ".~*",
    ".ipynb_checkpoints/",
    "__pycache__/",
    "*.py[co]",
    ".cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".Trash-*/",
    ".jupyter_ystore.db*",
    "lost+found/",
    ".nfs*",
    ".*.sw[px]",
    ".DS_Store",
    "Thumbs.db",
)
_FOLDERS = frozenset(p[:-1] for p in DEFAULTS if p.endswith("/") and "*" not in p)
_NAMES = re.compile(r"\.~.*|.*\.py[co]|\.jupyter_ystore\.db.*|\.nfs.*|\..*\.sw[px]|\.DS_Store|Thumbs\.db", re.DOTALL)
# The companions of an SQLite database travel inside its snapshot, never beside it.
_SIDES = re.compile(r".*\.(db|db3|sqlite|sqlite3)-(wal|shm|journal)", re.DOTALL)


class Ignore:
    """The rules of one folder. Ignoring only ever stops uploads: nothing is deleted for it."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """`lines` of a `.preflightignore`; a line that is no pattern is left out and named in `faults`."""
        self.faults: list[str] = []
        self._user: pathspec.GitIgnoreSpec | None = None
        lines = [line for line in lines if line.strip() and not line.startswith("#")]
        if not lines:
            return
        import pathspec  # an eighth of the start of a command, and few folders have patterns of their own

        good: list[str] = []
        for line in lines:
            try:
                pathspec.GitIgnoreSpec.from_lines([line])
            except ValueError as error:
                self.faults.append(f"{FILE}: {line!r} is no pattern: {error}")
                continue
            good.append(line)
        if good:
            self._user = pathspec.GitIgnoreSpec.from_lines(good)

    def why(self, path: str, *, is_folder: bool) -> str:
        """Why `path` (whose parents are not ignored) is not saved; "" when it is."""
        if path == OURS:
            return "it belongs to this toolkit"
        name = path.rpartition("/")[2]
        if self._user is not None:
            found = self._user.check_file(path + "/" if is_folder else path)
            if found.include is not None:
                return f"{FILE} names it" if found.include else ""
        if is_folder:
            hit = name in _FOLDERS or name.startswith((".Trash-", ".~", ".nfs"))
        else:
            hit = _NAMES.fullmatch(name) is not None or _SIDES.fullmatch(name) is not None
        return "it is ignored by default" if hit else ""

    def covers(self, path: str) -> bool:
        """Whether `path` or a parent of it is ignored."""
        parts = path.rstrip("/").split("/")
        return any(
            self.why("/".join(parts[: i + 1]), is_folder=i + 1 < len(parts) or path.endswith("/"))
            for i in range(len(parts))
        )
