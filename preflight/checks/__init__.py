"""What a check is, what it may know, and how checks are found.

A new check is one file in this folder that exposes `CHECKS: tuple[Check, ...]`; it inherits the runner, the
policy, the table, the docs page and the contract suite by existing. A check *measures*: it returns a number
with a unit, or raises why it could not. It never judges, never decides, never acts.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from preflight.cpu_wait import thread_wait_s
from preflight.errors import PreflightError, Unmeasured
from preflight.model import EMPTY, Blame, Limit, Measurement, Severity
from sync.clock import Clock, SystemClock

if TYPE_CHECKING:
    from preflight.platforms import Platform
    from sync.stores import Store
    from sync.stores.config import StoreConfig

T = TypeVar("T")
UNIMPORTABLE = (
    ImportError, OSError, SyntaxError, AttributeError, LookupError, TypeError, ValueError, RuntimeError,
)  # fmt: skip


class Lane(StrEnum):
    """Checks of one lane run one after another (they share a resource); lanes run side by side."""

    HOST = "host"
    DISK = "disk"
    GPU = "gpu"
    NETWORK = "network"  # small requests on the way to the bucket
    BUCKET = "bucket"  # what loads that way
    REFERENCE = "reference"  # other networks: ICMP, speedtest; inform, never decide
    WARMUP = "warmup"


class Broken(PreflightError):
    """The thing itself is proven broken (403 on put). Ends as fail with `blame`; only an unknown has no proof."""

    def __init__(
        self, why: str, *, blame: Blame | None = None, advice: str = "", detail: Mapping[str, object] = EMPTY
    ) -> None:
        super().__init__(why)
        self.why = why
        self.blame = blame
        self.advice = advice
        self.detail = detail


class NotExpected(PreflightError):
    """Nothing to measure here (no GPU expected, no store configured): ends as skip, which is never a fault."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Reading:
    """What a check saw, in its own unit, with the samples behind it. `value` None is not allowed: raise instead.

    `blame` is set only where the error itself tells who is at fault (a 403 is the account's).
    """

    value: float | str
    detail: Mapping[str, object] = field(default_factory=lambda: EMPTY)
    blame: Blame | None = None
    advice: str = ""


class Shared:
    """Results that several checks of one round read from one measurement (one GPU child, one open store)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._results: dict[str, tuple[bool, Any]] = {}

    def once(self, key: str, make: Callable[[], T], *, patience_s: float = -1.0) -> T:
        """The result of `make()`, called at most once a round; the error it raised is raised again.

        With `patience_s`, Unmeasured is raised when somebody else's call takes longer than that: within a lane
        this means that it was abandoned because it hangs.
        """
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=patience_s):
            raise Unmeasured("what it needs does not answer")
        try:
            if key not in self._results:
                try:
                    made: tuple[bool, Any] = (True, make())
                except PreflightError as error:
                    made = (False, error)
                with self._lock:
                    self._results[key] = made
            ok, result = self._results[key]
        finally:
            lock.release()
        if not ok:
            raise result
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close what was opened for the round (stores); an abandoned check that still uses it ends in an error."""
        with self._lock:
            results = list(self._results.values())
        for ok, result in results:
            if ok and callable(close := getattr(result, "close", None)):
                close()


@dataclass(frozen=True, slots=True)
class Context:
    """All that a check may know. A confirming round gets a fresh one (`round_number` 1): nothing is remembered."""

    environ: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    data_dir: Path = Path(".local/data")
    state_dir: Path = Path(".local/state")
    stores: tuple[StoreConfig, ...] = ()
    image_manifest: Path = Path("/opt/preflight/image.json")
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    expect_gpu: bool = False
    limits: Mapping[str, Limit] = field(default_factory=dict)  # effective, by check name: early accept needs them
    round_number: int = 0  # 1 = confirmation: measure longer
    first: Mapping[str, Measurement] = field(default_factory=dict)  # in a confirmation: what the first round saw
    shared: Shared = field(default_factory=Shared)
    ends_at_s: float = float("inf")  # monotonic: what is not measured by then is thrown away
    stopped: threading.Event = field(default_factory=threading.Event)  # set at the hard cap: give up soon
    open_store: Callable[[StoreConfig], Store] | None = None  # None: sync.stores.opening.open_store
    cpu_wait_s: Callable[[], float] = thread_wait_s  # seconds that the calling thread has waited for a CPU

    def limit(self, name: str) -> Limit | None:
        """The effective limit of a check, None when it only informs."""
        return self.limits.get(name)


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement, its unit, how long it may take, when it is bad and who must act then.

    `limit` holds the default thresholds with the reason for each; a Limit without bounds only informs (its
    blame and advice still serve when the check fails outright). `every_s` makes it a runtime monitor too.
    """

    name: str  # dotted and stable: "bucket.upload"
    title: str  # what people read in the table: "Upload to your bucket"
    unit: str  # "s", "B", "B/s", "ratio", "count", "number", "degC", "version"; "" for words
    lane: Lane
    measure: Callable[[Context], Reading | float | str]
    limit: Limit
    deadline_s: float = 3.0
    every_s: float | None = None
    why: str = ""  # what the check proves and why it is here, for docs/checks.md
    network: bool = False  # judges the network path, not the machine: shown apart
    hard: bool = False  # proves the hardware itself bad (a stuck bit): may cost the node once even without a ledger
    informs_only: bool = False  # shown, never decides (ICMP, speedtest)
    monitor_only: bool = False  # not part of the start-up round

    @property
    def code(self) -> str:
        """The stem of its finding codes: "BUCKET-UPLOAD" -> BUCKET-UPLOAD-LOW."""
        return self.name.upper().replace(".", "-").replace("_", "-")


def all_checks() -> tuple[Check, ...]:
    """Every check of this folder, in a fixed order (file name, then order within the file).

    A file that cannot be imported (a damaged image, a library that is missing) costs its own checks and no other's:
    `toolkit.loaded` is then unknown, with the image to blame.
    Raises ValueError when two checks share a name: the name is the key everywhere.
    """
    return checks_in(__path__, __name__)


def checks_in(path: Iterable[str], package: str) -> tuple[Check, ...]:
    """The checks of the files in `path`, imported as modules of `package`."""
    checks: list[Check] = []
    missing: list[str] = []
    for module in sorted(pkgutil.iter_modules(path), key=lambda found: found.name):
        if module.name.startswith("_"):
            continue
        try:
            checks += getattr(importlib.import_module(f"{package}.{module.name}"), "CHECKS", ())
        except (
            ImportError,
            OSError,
            SyntaxError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            RuntimeError,
        ) as no:
            missing.append(f"{module.name}: {type(no).__name__}, {no}"[:200])
    checks.append(_loaded(missing))
    names = [check.name for check in checks]
    if len(set(names)) != len(names):
        raise ValueError(f"two checks share a name: {sorted({name for name in names if names.count(name) > 1})}")
    return tuple(checks)


def _loaded(missing: Sequence[str]) -> Check:
    def measure(context: Context) -> Reading:
        """ "complete" when every file of checks could be loaded."""
        if missing:
            raise Unmeasured(f"some checks cannot be loaded ({'; '.join(missing)})", blame=Blame.IMAGE)
        return Reading("complete")

    return Check(
        name="toolkit.loaded",
        title="The toolkit itself",
        unit="",
        lane=Lane.HOST,
        measure=measure,
        why="A part that cannot be loaded must neither take the other checks with it nor go unnoticed.",
        limit=Limit(
            severity=Severity.WARN,
            blame=Blame.IMAGE,
            advice="build the image again: its toolkit is damaged",
            why="Complete or not: there is no number.",
        ),
    )
