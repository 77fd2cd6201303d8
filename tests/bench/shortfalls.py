"""Why a row falls short of its goal: said where the figure is shown, and only while it does."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.rows import Row

# The beginning of a row's name -> the reason.
_REASONS: dict[str, str] = {
    "push 256": "parts are hashed twice before they leave, and the server shares the cores (docs/performance.md)",
    "pull 256": "start, lease, a digest in order and one syncfs before it counts as restored (docs/performance.md)",
    "push ": "the server takes most of the cores for every tool; start and lease weigh in (docs/performance.md)",
    "pull ": "start, lease and one syncfs before anything counts as restored (docs/performance.md)",
}


def why(row: Row) -> Row:
    """The row, with the reason in its note when it misses its goal."""
    if row.met is not False:
        return row
    reason = next((text for start, text in _REASONS.items() if row.measure.startswith(start)), "not looked into yet")
    return replace(row, note="; ".join(part for part in (reason, row.note) if part))
