"""A simulated fleet: a hundred replicas on a finite pool of nodes, one bucket, and the real ledger and policy.

Only time, the nodes and the bucket's server are simulated; what decides and what hands back is the product's code.
"""

from __future__ import annotations

import contextlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from preflight.errors import ImdsError
from preflight.evidence import passed_and_failed
from preflight.examine import Examined, Setup, confirm
from preflight.ledger import Ledger, no_ledger
from preflight.model import Blame, Limit, Measurement, Report, Severity, Verdict
from preflight.platforms import ProbeEffects
from preflight.policy import Fleet, Policy, Rule, decide, judge, may_reject
from preflight.reallocation import hand_back
from sync.errors import SyncError
from sync.stores import Store, Writes
from sync.stores.config import StoreConfig
from tests.model.simulation.bucket import Bucket
from tests.model.simulation.faults import Network
from tests.model.simulation.memory_store import Bystander, MemoryStore
from tests.support.links import SimulatedClock

HOUR_S = 3600.0
EXCLUDED_S = 48 * HOUR_S
PULL_S = 600.0  # median time until a fresh node runs the container
LOOK_S = 5.0
CHECK = "bucket.upload"
LIMIT = Limit(at_least=10.0, severity=Severity.REJECT, blame=Blame.NODE)


@dataclass(frozen=True)
class Weather:
    """What goes wrong."""

    bad_nodes: float = 0.05  # share that really is unfit
    false_reject: float = 0.0  # a good node measures badly, twice
    slow: Callable[[float], bool] = lambda _: False  # at this time every node measures badly
    down: Callable[[float], bool] = lambda _: False  # at this time the bucket, and so the ledger, does not answer


@dataclass
class Result:
    """What it cost."""

    reallocations: int = 0
    most_excluded: int = 0
    starved: int = 0  # no node was left to be had
    bad_in_use: int = 0  # bad nodes that were kept, degraded and flagged
    starts: int = 0


@dataclass
class Replica:
    """One container on its way through nodes; a Platform for the product's code."""

    world: World
    node: int
    name: str = "salad"
    can_reallocate: bool = True
    can_restart: bool = True
    group: str = "group"
    probe_effects: ProbeEffects = field(default_factory=ProbeEffects)
    exit_burns_node: bool = True

    def machine(self) -> str:
        return f"node-{self.node}"

    def reallocate(self, reason: str) -> None:
        self.world.exclude(self.node)

    def restart(self) -> None:
        raise ImdsError("not simulated")

    recreate = restart

    def deletion_cost(self) -> int:
        return 0

    def set_deletion_cost(self, cost: int) -> None: ...


class World:
    """The pool, the bucket and the replicas' life over `hours`."""

    def __init__(
        self, policy: Policy | None, weather: Weather, seed: int, *, pool: int = 557, replicas: int = 100
    ) -> None:
        self.policy = policy
        self.weather = weather
        self.rng = random.Random(seed)
        self.clock = SimulatedClock()
        self.clock.at_s = 1_000_000.0
        self.began_s = self.clock.at_s
        self.bucket = Bucket(Writes.FULL)
        self.bad = set(self.rng.sample(range(pool), int(pool * weather.bad_nodes)))
        self.pool = pool
        self.replicas = replicas
        self.busy: set[int] = set()
        self.excluded_until: dict[int, float] = {}
        self.result = Result()

    def exclude(self, node: int) -> None:
        """The platform took the node back."""
        self.result.reallocations += 1
        self.excluded_until[node] = self.clock.at_s + EXCLUDED_S
        self.result.most_excluded = max(self.result.most_excluded, len(self._excluded()))

    def run(self, hours: float = 96.0) -> Result:
        """All replicas from deploy on; running ones are interrupted after 60 h on average."""
        ends_s = self.clock.at_s + hours * HOUR_S
        events: list[tuple[float, int, int | None]] = [
            (self.clock.at_s + self.rng.expovariate(1 / PULL_S), number, None) for number in range(self.replicas)
        ]
        heapq.heapify(events)
        while events and events[0][0] < ends_s:
            at_s, number, left = heapq.heappop(events)
            self.clock.at_s = at_s
            if left is not None:
                self.busy.discard(left)
            node = self._allocate()
            if node is None:
                self.result.starved += 1
                heapq.heappush(events, (at_s + PULL_S, number, None))
                continue
            self.busy.add(node)
            kept = self._start(node)
            if kept:
                stays_s = self.rng.expovariate(1 / (60 * HOUR_S))
                heapq.heappush(events, (at_s + stays_s + PULL_S, number, node))
                self.result.bad_in_use += node in self.bad
            else:
                heapq.heappush(events, (at_s + LOOK_S + self.rng.expovariate(1 / PULL_S), number, node))
        return self.result

    def _excluded(self) -> set[int]:
        return {node for node, until_s in self.excluded_until.items() if until_s > self.clock.at_s}

    def _allocate(self) -> int | None:
        taken = self.busy | self._excluded()
        free = [node for node in range(self.pool) if node not in taken]
        return self.rng.choice(free) if free else None

    def _start(self, node: int) -> bool:
        """A container starts on `node`: whether the node is kept."""
        self.result.starts += 1
        replica = Replica(self, node)
        elapsed_s = self.clock.at_s - self.began_s
        unlucky = self.rng.random() < self.weather.false_reject
        unfit = node in self.bad or unlucky or self.weather.slow(elapsed_s)
        if self.policy is None:  # as the example scripts do it: no second look, no memory
            if unfit:
                self.exclude(node)
            return not unfit
        measured = (Measurement(CHECK, "count", value=3.0 if unfit else 30.0),)
        setup = Setup(
            environ={}, policy=self.policy, data_dir=Path("/nowhere"), state_dir=Path("/nowhere"),
            stores=(StoreConfig("s3", "bucket"),), open_store=lambda _: self._store(replica),
        )  # fmt: skip
        findings = judge(measured, self.policy)
        if any(may_reject(one) for one in findings):
            findings = confirm(findings, judge(measured, self.policy))
        fleet = self._fleet(replica)
        decision = decide(findings, self.policy, fleet)
        report = Report(
            decision.verdict, replica.machine(), "salad", datetime.fromtimestamp(self.clock.at_s, UTC), LOOK_S,
            findings, findings, reject_for=decision.reject_for, reason=decision.reason, trace=decision.trace,
        )  # fmt: skip
        examined = Examined(report, decision, measured, fleet=fleet)
        after = hand_back(examined, setup, platform=replica, clock=self.clock, on_reject="reallocate")
        with contextlib.suppress(SyncError):
            ledger = Ledger(self._store(replica), replica.group, replica.machine())
            ledger.note(*passed_and_failed(examined, self.policy))
        return after.verdict is not Verdict.REJECT

    def _fleet(self, replica: Replica) -> Fleet:
        try:
            ledger = Ledger(self._store(replica), replica.group, replica.machine())
            return ledger.read(self.clock.at_s, self.policy)
        except SyncError as error:
            return no_ledger(error.what)

    def _store(self, replica: Replica) -> Store:
        network = Network(self.rng)
        if self.weather.down(self.clock.at_s - self.began_s):
            network.partition_until_s = self.clock.at_s + 1
        return MemoryStore(self.bucket, Bystander(replica.machine(), self.clock.monotonic), network)


def policy(*, replicas: int = 100, pool_size: int | None = 557) -> Policy:
    """The product's policy for this fleet."""
    rule = Rule(CHECK, "count", LIMIT, network=True, from_user=True)
    return Policy(rules={CHECK: rule}, replicas=replicas, pool_size=pool_size)


WEATHERS = {
    "steady, 2 % false rejects": Weather(false_reject=0.02),
    "a public speed test, 20 % false rejects": Weather(false_reject=0.2),
    "upload above 100 Mbit/s demanded, 50 %": Weather(false_reject=0.5),
    "the bucket slow for 1 h at deploy": Weather(slow=lambda s: s < HOUR_S),
    "the bucket down for 1 h at deploy": Weather(slow=lambda s: s < HOUR_S, down=lambda s: s < HOUR_S),
    "a common fault from the start": Weather(slow=lambda _: True),
    "a common fault from 24 h on": Weather(slow=lambda s: s > 24 * HOUR_S),
}
