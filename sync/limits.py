"""What one engine may do."""

from __future__ import annotations

from dataclasses import dataclass, field

from sync.plan import Guard


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine may do at once and what it must hold back."""

    workers: int = 16
    guard: Guard = field(default_factory=Guard)
    guard_release_s: float = 86_400.0
    trash_keep_s: float = 30 * 86_400.0
    is_mirror: bool = False  # push-only: nothing is pulled, no conflict copies appear in the folder
