"""Looking without touching: what would be done, what is not saved and why. Reads a copy of the journal."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from sync.clock import SystemClock
from sync.disk import DiskFiles
from sync.fetch import digest_of
from sync.host import journal_path
from sync.names import is_ours, join, key_of
from sync.restoring import compare, list_all
from sync.scan import Scanner
from sync.settings import SyncSettings
from sync.settle import TWIN_S
from sync.state import Journal
from sync.status import read_status
from sync.stores import Store
from sync.tree import Kind, unchanged
from sync.work import Failed, Listed, Outcome


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of an answer: what would happen to `path`, or what is wrong with it."""

    path: str
    what: str
    size: int = 0


class Inspection:
    """A private view of one folder and its journal."""

    def __init__(self, settings: SyncSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._files = DiskFiles(settings.data_dir, SystemClock())
        self._journal = Journal(_copy(settings, store))
        self._scanner = Scanner(self._files, self._journal)
        self._scanner.read_ignore()
        self.verified = 0

    def close(self) -> None:
        """Drop the copy."""
        self._journal.close()

    def would_push(self) -> Iterator[Finding]:
        """What a flush would send and delete."""
        if self._files.read_marker() != self._journal.fact("folder"):
            yield Finding(".", "the folder is not the one of the journal: it would be restored first")
            return
        walk = self._scanner.begin_walk()
        stack = [""]
        while stack:
            folder = stack.pop()
            diff = self._scanner.scan(folder)
            if diff.problem:
                yield Finding(folder, f"stays as it is: {diff.problem}")
            for path, entry in sorted(diff.changed.items()):
                yield Finding(path, "put", 0 if path.endswith("/") else entry.size)
            for path in diff.gone:
                yield Finding(path, "delete, after a copy to the trash")
            stack.extend(join(folder, name) for name in diff.subfolders)
        for path in self._scanner.unseen(walk):
            yield Finding(path, "delete, after a copy to the trash")

    def would_pull(self) -> Iterator[Finding]:
        """What a pull would change in the folder. Raises the store's errors."""
        problems: dict[str, str] = {}
        self._list()
        if self._files.read_marker() != self._journal.fact("folder"):
            self._journal.forget()
        for pull in compare(self._journal, self._files, self._scanner, problems):
            yield Finding(pull.path, pull.op.value, pull.remote.size if pull.remote else 0)
        for path, why in problems.items():
            yield Finding(path, why)

    def verify(self) -> Iterator[Finding]:
        """Every file whose content is not in the bucket as it is here, by content and not by belief.

        `verified` counts the files that are.
        """
        self.verified = 0
        self._list()
        stack = [""]
        while stack:
            folder = stack.pop()
            try:
                listing = self._files.scan(folder)
            except OSError as error:
                yield Finding(folder, f"cannot be read: {error.strerror}")
                continue
            rows, remotes = self._journal.rows(folder), self._journal.staged(folder)
            for name, entry in sorted(listing):
                path = join(folder, name)
                if is_ours(path) or self._scanner.ignore.why(path, is_folder=entry.kind is Kind.DIR):
                    continue
                if entry.kind is Kind.DIR:
                    stack.append(path)
                    continue
                row, remote = rows.get(name), remotes.get(name)
                if entry.kind is Kind.OTHER:
                    continue
                if remote is None:
                    yield Finding(path, "is not in the bucket", entry.size)
                elif row is None or row.version != remote.version:
                    yield Finding(path, "is another version in the bucket than the journal knows", entry.size)
                elif entry.kind is Kind.FILE and not entry.extra and (why := self._differs(path, row.md5)):
                    yield Finding(path, why, entry.size)
                else:
                    self.verified += 1
            for name in remotes.keys() - {n for n, _ in listing} - {n + "/" for n, _ in listing}:
                yield Finding(join(folder, name), "is in the bucket and not in the folder", remotes[name].size)

    def _differs(self, path: str, md5: bytes | None) -> str:
        try:
            with self._files.open(path) as reading:
                return "" if md5 is None or digest_of(reading) == md5 else "has other content than the bucket"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _list(self) -> None:
        self._journal.begin_listing()

        def post(outcome: Outcome) -> None:
            if isinstance(outcome, Listed):
                self._journal.stage(outcome.objects)

        last = list_all(self._store, post)
        if isinstance(last, Failed):
            raise last.error
        post(last)
        self._journal.commit()

    def explain(self, path: str) -> str:
        """One sentence: whether `path` is saved, or why not."""
        if is_ours(path):
            return "It belongs to this toolkit and is not synced."
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            top = "/".join(parts[:depth])
            entry = self._files.entry(top)
            is_folder = entry is not None and entry.kind is Kind.DIR
            if why := self._scanner.ignore.why(top, is_folder=is_folder or depth < len(parts)):
                return f"It is not saved: {why}" + ("." if top == path else f" (by its folder {top}).")
        status = read_status(self._settings.state_dir)
        problems = {str(p["path"]): str(p["why"]) for p in status.problems} if status else {}
        if path in problems:
            return f"It is not saved: {problems[path]}"
        entry, row = self._files.entry(path), self._journal.row(path)
        if entry is None:
            if row is None:
                return "It is neither here nor known from the bucket; `preflight-sync trash` lists what was deleted."
            held = status is not None and any(h["path"] == path for h in status.held)
            return "It is deleted here; in the bucket it " + (
                "is held back by the guard." if held else "will go to the trash."
            )
        if entry.kind is Kind.OTHER:
            return "It is a socket, FIFO or device: those are not saved."
        if entry.kind is Kind.DIR:
            if self._journal.row(path + "/") is not None:
                return f"It is saved: an empty folder, for which the object {key_of(path)}/ stands."
            return "It is a folder: ask for one of its files. (An empty one is saved too, as an object of its name.)"
        folder, _, name = path.rpartition("/")
        if row is not None and unchanged(entry._replace(extra=row.entry.extra), row):
            version = row.version.strip('"')
            return f"It is saved: version {version} of the object {key_of(path)}."
        if self._files.entry(join(folder, f".~{name}")) is not None:
            return f"It is not saved yet: JupyterLab is writing it (its twin .~{name} exists; waited for {TWIN_S:g} s)."
        if row is None:
            return "It is not saved yet: it is new and waits for its turn."
        return "It is not saved yet: it changed since it was last saved and waits for its turn."


def _copy(settings: SyncSettings, store: Store) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:")
    path = journal_path(settings.state_dir, store.url)
    if path.exists():
        with contextlib.closing(sqlite3.connect(path)) as source:
            source.backup(memory)
    return memory
