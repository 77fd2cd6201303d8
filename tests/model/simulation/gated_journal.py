"""The journal and the intents beside it, on simulated files: each change of them is a moment to die at."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from sync.intents import Intents
from sync.state import Journal

if TYPE_CHECKING:
    from tests.model.simulation.node import Life, Node


class GatedJournal(Journal):
    """The journal on a database in memory: a commit is a moment at which the process may die."""

    def __init__(self, connection: sqlite3.Connection, life: Life) -> None:
        super().__init__(connection)
        self._life = life
        self.commits = 0

    def commit(self) -> None:
        if not self._open:
            return
        self._life.gate("commit")
        super().commit()
        self.commits += 1
        if self._life.rng.random() < 0.05:
            self._life.node.snapshots[:] = [self._db.serialize()]


class KeptIntents(Intents):
    """The intents in a file that outlives the process; a power cut may take any of it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        super().__init__()

    def read(self) -> bytes:
        return bytes(self._node.intents)

    def append(self, record: bytes) -> None:
        self._node.intents += record

    def replace(self, records: bytes) -> None:
        self._node.intents[:] = records
