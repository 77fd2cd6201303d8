"""A credential that cannot be printed by accident and may be renewed through a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MASK = "••••"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """One credential. `str`, `repr` and formatting show a mask; only `reveal` gives the value."""

    value: str = ""
    file: Path | None = None  # the content of `<VARIABLE>_FILE`; wins over `value` whenever it can be read

    def reveal(self) -> str:
        """The value as of now: the file's content without surrounding white space, else the variable's value."""
        if self.file is not None:
            try:
                text = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                text = ""
            if text:
                return text
        return self.value

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__
