"""The journal on a database in memory: a commit is a moment at which the process may die."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from sync.state import Journal

if TYPE_CHECKING:
    from tests.model.simulation.node import Life


class GatedJournal(Journal):
    """The journal on a database in memory: a commit is a moment at which the process may die."""

    def __init__(self, connection: sqlite3.Connection, life: Life) -> None:
        super().__init__(connection)
        self._life = life

    def commit(self) -> None:
        if not self._open:
            return
        self._life.gate("commit")
        super().commit()
        if self._life.rng.random() < 0.05:
            self._life.node.snapshots[:] = [self._db.serialize()]
