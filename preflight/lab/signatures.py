"""Which notebooks the user trusts travels with the folder: without it each node would say "Not Trusted" anew.

Jupyter keeps a signature of every trusted content in a database of the node. Signatures are made with a secret that is
the same on every node with the same password and bucket (`launch.py`), and prove nothing to anybody without it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

from nbformat.sign import SQLiteSignatureStore

from preflight.lab.documents import FOLDER
from preflight.lab.whole import atomic_writing

log = logging.getLogger(__name__)
NAME = "signatures.txt"
MOST = 20_000  # 1.4 MB; the newest


def kept_at(data_dir: Path) -> Path:
    """Where they travel."""
    return data_dir / FOLDER / NAME


def carry(database: Path, data_dir: Path) -> bool:
    """Write down what the database holds, if that is new; True when it was. Raises OSError and sqlite3.Error."""
    if not database.exists():
        return False
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT algorithm, signature FROM nbsignatures ORDER BY last_seen DESC LIMIT ?", (MOST,)
        ).fetchall()
    text = "".join(sorted({f"{algorithm} {signature}\n" for algorithm, signature in found}))
    kept = kept_at(data_dir)
    if not text or (kept.exists() and kept.read_text() == text):
        return False
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writing(kept) as file:
        file.write(text)
    return True


def bring(data_dir: Path, database: Path) -> int:
    """Add to the database what came with the folder; how many it lacked. Failing costs trust, never a start."""
    try:
        lines = [line.split(" ") for line in kept_at(data_dir).read_text().splitlines()[:MOST]]
        carried = [(one[0], one[1]) for one in lines if len(one) == 2 and one[0].isalnum() and one[1].isalnum()]
        SQLiteSignatureStore(str(database)).close()  # the table, as the library makes it
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            there = set(connection.execute("SELECT algorithm, signature FROM nbsignatures"))
            new = [pair for pair in carried if pair not in there]
            connection.executemany(
                "INSERT INTO nbsignatures (algorithm, signature, last_seen) VALUES (?, ?, datetime('now'))", new
            )
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, sqlite3.Error) as failed:
        log.warning("which notebooks are trusted cannot be known", extra={"why": str(failed)})
        return 0
    return len(new)
