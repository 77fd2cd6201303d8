"""What the GPU at work told, for the checks. Pure, apart from `run_work`, which starts the child."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from preflight.gpu.fault import COMPAT_NOT_SUPPORTED, describe_code
from preflight.gpu.watchdog import Outcome, run_child
from preflight.image import Image, without_compat
from sync.clock import Clock

LIMIT_S = 8.0
_START_QUIET_S = 5.0
START_STAGES = ("cuda_start", "cuda_device", "cuda_compile", "cuda_first")
WORK_STAGES = ("burn", "pipe", "memory_taken", "memory_resident", "memory_tested")


@dataclass(frozen=True, slots=True)
class Failure:
    """A stage that a driver call ended with an error code."""

    stage: str
    code: int
    call: str
    why: str

    def __str__(self) -> str:
        return describe_code(self.code, self.call, self.why)


@dataclass(frozen=True, slots=True)
class Worked:
    """Results by stage, the first failure, and how the child ended when it did not end well."""

    told: Mapping[str, object] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    ended_badly: str = ""

    def result(self, stage: str) -> Mapping[str, object] | None:
        """What a stage told; None when it did not come to an end."""
        value = self.told.get(stage)
        return value if isinstance(value, dict) else None

    @property
    def device(self) -> Mapping[str, object]:
        """Name and attributes of the device, as far as told."""
        return self.result("cuda_device") or {}

    def failure(self, *stages: str) -> Failure | None:
        """The first failure in one of these stages."""
        return next((failure for failure in self.failures if failure.stage in stages), None)

    def why_not(self, stage: str) -> str:
        """One sentence on why a stage told nothing."""
        failure = self.failure(stage) or (self.failures[0] if self.failures else None)
        return str(failure) if failure else self.ended_badly or "the GPU's work ended before this"


def run_work(
    environ: Mapping[str, str],
    clock: Clock,
    *,
    longer: bool = False,
    stopped: threading.Event | None = None,
    image: Image,
    ordinal: int = 0,
) -> Worked:
    """Lets one GPU (CUDA's number `ordinal`) work in a fresh child; takes at most LIMIT_S, whatever the driver does.

    Error 804 with forward-compatibility libraries ahead is tried again without them, as kernels will be started:
    then `compat_left_out` is told.
    """
    arguments = [f"device={ordinal}", *(["longer=1"] if longer else [])]
    end_s = clock.monotonic() + LIMIT_S

    def once(variables: Mapping[str, str]) -> Worked:
        limit_s = max(0.1, end_s - clock.monotonic())
        outcome = run_child(
            "work", variables, clock, arguments=arguments, limit_s=limit_s, quiet_s=_START_QUIET_S, stopped=stopped
        )
        return assemble_work(outcome)

    worked = once(environ)
    failure = worked.failure("cuda_start")
    path = environ.get("LD_LIBRARY_PATH", "")
    if failure is None or failure.code != COMPAT_NOT_SUPPORTED or without_compat(image, path) == path:
        return worked
    again = once({**environ, "LD_LIBRARY_PATH": without_compat(image, path)})
    return replace(again, told={**again.told, "compat_left_out": True})


def assemble_work(outcome: Outcome) -> Worked:
    """The results of a child that ended anyhow."""
    told: dict[str, object] = {}
    failures: list[Failure] = []
    for fact in outcome.facts:
        stage = str(fact["stage"])
        if "value" in fact:
            told[stage] = fact["value"]
        elif isinstance(code := fact.get("error"), int):
            failures.append(Failure(stage, code, str(fact.get("call", stage)), str(fact.get("why", ""))))
    return Worked(told, tuple(failures), outcome.why)
