"""A node to examine in tests: real folders, a real store, a real fake of the platform, checks of the test's own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from preflight.assessment import assess
from preflight.checks import Check, Context, Lane, Reading
from preflight.examine import Setup
from preflight.limits import policy_from
from preflight.model import Blame, Limit, Report, Severity
from preflight.platforms import detect
from sync.clock import SystemClock
from sync.stores import Store
from sync.stores.config import StoreConfig, file_config
from tests.support.imds import FakeImds, fake_imds


@dataclass
class FleetOfOne:
    """One machine after another, all with the same bucket."""

    folder: Path
    imds: FakeImds
    checks: tuple[Check, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    stores: tuple[StoreConfig, ...] = ()
    open_store: Callable[[StoreConfig], Store] | None = None
    hard_cap_s: float = 20.0

    def start(self, machine: str = "m-1", **environ: str) -> Report:
        """A container starts on `machine`: examined, and handed back when so decided."""
        env: Mapping[str, str] = {
            "SALAD_MACHINE_ID": machine,
            "SALAD_CONTAINER_GROUP_ID": "group",
            "SALAD_METADATA_URI": self.imds.url,
            **self.environ,
            **environ,
        }
        home = self.folder / machine
        clock = SystemClock()
        setup = Setup(
            environ=env,
            policy=policy_from(env, self.checks),
            data_dir=home / "data",
            state_dir=home / "state",
            stores=self.stores,
            checks=self.checks,
            hard_cap_s=self.hard_cap_s,
            open_store=self.open_store,
        )
        return assess(setup, platform=detect(env, clock), clock=clock, rng=random.Random(1))


@contextmanager
def fleet_of_one(folder: Path, *checks: Check) -> Iterator[FleetOfOne]:
    """With a file store below `folder` and a metadata service."""
    with fake_imds() as imds:
        yield FleetOfOne(folder, imds, checks, stores=(file_config(folder / "bucket"),))


def node_check(
    measure: Callable[[Context], Reading | float | str], name: str = "gpu.memory", *, hard: bool = False, **limit: float
) -> Check:
    """A check whose failure would cost the node; by default it needs at least 10."""
    rule = Limit(**{"at_least": 10.0, **limit}, severity=Severity.REJECT, blame=Blame.NODE)  # type: ignore[arg-type]
    return Check(name, name, "count", Lane.GPU, measure, rule, hard=hard)
