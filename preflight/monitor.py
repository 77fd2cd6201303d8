"""When a run of readings means something. Pure: readings in, findings out.

Single bad readings mean nothing: a finding needs 4 of the last 5. What is bad is a broken limit, or a reading
that is clearly worse than this node's own normal (the median of its first 30). On two published traces of real
nodes, 4,970 minutes long, 4-of-5 below 0.93 of the node's own normal raised no false alarm and found a drop of
20 % in five minutes. Proven faults (the GPU is gone, the disk is nearly full) need two readings in a row.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

BASELINE_OF = 30  # readings


@dataclass(frozen=True, slots=True)
class Rule:
    """How a check is watched. `worse` is "lower", "higher" or "" (only its limit counts)."""

    window: int = 5
    need: int = 4
    worse: str = ""
    factor: float = 0.9  # below factor x normal, or above normal / factor, is worse


SOFT = Rule()
HARD = Rule(window=2, need=2)
WATCHED = {
    "gpu.count": HARD,
    "disk.free": HARD,
    "host.memory_free": HARD,
    "gpu.clock": Rule(worse="lower"),  # under load only: an idle card clocks down
    "bucket.latency": Rule(worse="higher", factor=0.25),  # residential lines double their delay under load
    "sync.upload": Rule(worse="lower", factor=0.25),
}


@dataclass(frozen=True, slots=True)
class Track:
    """What is remembered of one check."""

    rule: Rule = SOFT
    recent: tuple[bool, ...] = ()  # whether each of the last readings was bad
    normal: tuple[float, ...] = ()  # the first readings
    raised: bool = False
    since_s: float = 0.0  # when it was raised
    why: str = ""

    @property
    def baseline(self) -> float | None:
        """This node's own normal, once enough is known."""
        return statistics.median(self.normal) if len(self.normal) == BASELINE_OF else None


def feed(track: Track, value: float | None, broken: str, now_s: float) -> Track:
    """The track after one reading. `broken` says how a limit was broken ("" when it was not).

    Without a value and without a broken limit nothing is known, and nothing changes: unknown is not bad.
    """
    if value is None and not broken:
        return track
    drifted = "" if value is None else drift(track, value)
    bad = bool(broken or drifted)
    if value is not None and not bad and len(track.normal) < BASELINE_OF:
        track = replace(track, normal=(*track.normal, value))
    recent = (*track.recent, bad)[-track.rule.window :]
    count = sum(recent)
    if not track.raised and count >= track.rule.need:
        return replace(track, recent=recent, raised=True, since_s=now_s, why=broken or drifted)
    if track.raised and count <= track.rule.window - track.rule.need:
        return replace(track, recent=recent, raised=False, why="")
    return replace(track, recent=recent, why=(broken or drifted or track.why) if track.raised else "")


def drift(track: Track, value: float) -> str:
    """How the reading is worse than this node's own normal, "" when it is not or none is known yet."""
    normal, rule = track.baseline, track.rule
    if normal is None or normal <= 0 or not rule.worse:
        return ""
    if rule.worse == "lower" and value < rule.factor * normal:
        return f"it fell to {value / normal:.0%} of what is normal for this node"
    if rule.worse == "higher" and value > normal / rule.factor:
        return f"it rose to {value / normal:.1f} times what is normal for this node"
    return ""


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whether a finding is acted on."""

    wanted: str  # report | reallocate-when-idle | reallocate
    idle: bool | None  # None: not known, which is not idle
    can_restart: bool
    can_reallocate: bool
    tried: tuple[str, ...] = ()  # steps that were already taken for this check on this node


def next_step(check: str, *, rejects: bool, situation: Situation) -> str:
    """The next step up the ladder: warn, restart, recreate, reallocate; "warn" where nothing more is allowed.

    Only what the policy would reject a node for goes beyond a warning. A restart keeps the disk and the node; it
    may cure a GPU that vanished. A recreate gives a fresh disk on the same node; it may cure a full one. Neither
    excludes the node. Only the last step does, and it goes through the same choke point as a start.
    """
    if not rejects or situation.wanted == "report":
        return "warn"
    if situation.wanted == "reallocate-when-idle" and situation.idle is not True:
        return "warn"
    topic = check.split(".")[0]
    if topic == "gpu" and situation.can_restart and "restart" not in situation.tried:
        return "restart"
    if topic == "disk" and situation.can_restart and "recreate" not in situation.tried:
        return "recreate"
    if situation.can_reallocate and "reallocate" not in situation.tried:
        return "reallocate"
    return "warn"


def deletion_cost(*, pending_bytes: int, busy: bool | None, idle: bool | None) -> int:
    """How late Salad should take this instance on a scale-in: 0 is first.

    Bytes that are not saved weigh most, then a running cell; a notebook somebody looks at still counts a little.
    """
    if pending_bytes:
        return 1000
    if busy:
        return 500
    return 0 if idle else 100
