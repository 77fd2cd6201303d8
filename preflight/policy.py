"""Judge and decide. Pure: measurements in, findings and a decision out; no clock, no random, no network.

`judge` compares measurements with limits; `decide` says what the findings mean for this node. The only
function that acts on a decision is `preflight.reallocation.hand_back`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from preflight.model import Limit, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """One check as the policy sees it."""

    name: str
    unit: str
    limit: Limit
    network: bool = False
    from_user: bool = False  # a PREFLIGHT_LIMIT_… variable set it


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules by check name, and how sparing reallocations are."""

    rules: Mapping[str, Rule]
    tokens_per_replica: int = 3  # reallocations a replica may ask for in `token_window_s`
    token_window_s: float = 48 * 3600.0  # Salad keeps a handed-back node out of the pool for 48 h
    pool_size: int | None = None  # nodes of the class, if the user knows it; then also <= 5 % of it
    breaker_machines: int = 3  # more distinct machines than this failing one check in a row is a common fault
    breaker_half_open_s: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the ledger says, as far as deciding needs it."""

    readable: bool = False  # no ledger: no reallocation for a network reason
    tokens_used: int = 0  # by this replica within the window
    tokens_used_by_group: int = 0
    machines_failing: Mapping[str, int] = field(default_factory=dict)  # check -> distinct machines since its last pass
    demoted: frozenset[str] = frozenset()  # checks whose breaker is open now


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the check that rejects (if any), the reason for the platform, and every step taken."""

    verdict: Verdict
    reject_for: str = ""
    reason: str = ""
    trace: tuple[str, ...] = ()
