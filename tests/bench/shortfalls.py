"""Why a row falls short of its goal: said where the figure is shown, and only while it does."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.rows import Row

# The beginning of a row's name -> the reason.
_REASONS: dict[str, str] = {
    "push 256": "the whole is hashed before its first part, each part again, on the cores that the server needs too",
    "pull 256": "a start (0.25 s), lease, listing and an MD5 in order (0.45 s of a core); s5cmd checks no content",
    "push 300": "lease, listing and the lease's end are round trips that a copying tool does not make",
    "pull 300": "lease and listing, one after the other, are round trips that a copying tool does not make",
    "push ": "at equal CPU the server's own 1.2 ms a file decides: it shares the two cores",
    "pull ": "the server's 0.7 ms a file on the same cores; a private file and a rename each, then one syncfs",
    "burst": "the copying is in our figure, and each file is scanned, noted before it is sent and entered after it",
}
UNKNOWN = "not looked into yet"


def why(row: Row) -> Row:
    """The row, with the reason in its note when it misses its goal."""
    if row.met is not False:
        return row
    reason = next((text for start, text in _REASONS.items() if row.measure.startswith(start)), UNKNOWN)
    reference = "" if reason is UNKNOWN else "docs/performance.md"
    return replace(row, note="; ".join(part for part in (reason, reference, row.note) if part))
