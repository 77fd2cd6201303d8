"""A program that edits a real folder without mercy, and remembers every state that a file of it really had."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

NAMES = ("thesis.ipynb", "run.py", "d/x.txt", "d/y.txt", "d/e/z.bin", "f/g/h.csv", "ünï 😀", "new\nline")
FOLDERS = ("d", "f", "moved")


class Writer:
    """Edits below `root`. Contents are unique, so that an object in a bucket tells which state it is."""

    def __init__(self, root: Path, rng: random.Random, name: str) -> None:
        self.root = root
        self._rng = rng
        self._name = name
        self._count = 0
        self.states: set[bytes] = set()

    def edit(self) -> str:
        """One random deed; its name."""
        deed = self._rng.choices(
            (self.save, self.save_by_rename, self.append, self.delete, self.rename, self.rename_folder, self.copy),
            (8, 3, 2, 2, 2, 1, 1),
        )[0]
        try:
            deed()
        except OSError:
            return f"{deed.__name__} (not possible)"
        return deed.__name__

    def save(self) -> None:
        """Truncate, write, close: in one system call each, so that no partial state rests."""
        self.write(self._path(), self._text())

    def save_by_rename(self) -> None:
        """As an editor does."""
        path = self._path()
        temp = path.with_name(path.name + ".tmp")
        self.write(temp, self._text())
        os.replace(temp, path)

    def append(self) -> None:
        """As a log does."""
        path = self._path()
        body = path.read_bytes() + self._text()
        self.states.add(body)
        with path.open("ab") as file:
            file.write(body[-len(body) + path.stat().st_size :])

    def delete(self) -> None:
        """rm."""
        self._path().unlink()

    def rename(self) -> None:
        """mv."""
        new = self._path()
        new.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path(), new)

    def rename_folder(self) -> None:
        """mv of a folder."""
        old, new = self.root / self._rng.choice(FOLDERS), self.root / self._rng.choice(FOLDERS)
        if not new.exists():
            old.rename(new)

    def copy(self) -> None:
        """cp."""
        shutil.copyfile(self._path(), self._path())

    def write(self, path: Path, body: bytes) -> None:
        """Give a file a content; remembered before it can be seen."""
        self.states.add(body)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(descriptor, body)
        finally:
            os.close(descriptor)

    def _path(self) -> Path:
        return self.root / self._rng.choice(NAMES)

    def _text(self) -> bytes:
        self._count += 1
        return f"<{self._name} {self._count}>".encode() * self._rng.choice((1, 10, 3000))
