"""What the GPU checks of one round share: one snapshot of the driver, the image's manifest, what is expected.

Without a GPU and without anybody expecting one, every GPU check is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from preflight.checks import Check, Context, Lane, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.gpu.cuda import LIBRARY_MISSING
from preflight.gpu.readings import LIMIT_S, read_snapshot
from preflight.gpu.second_source import filled, is_wanting
from preflight.gpu.snapshot import Device, Snapshot
from preflight.gpu.worked import LIMIT_S as WORK_LIMIT_S
from preflight.gpu.worked import Worked, run_work
from preflight.image import Image, manifest_path, read_image
from preflight.model import Limit

EXPECT_VARIABLE = "PREFLIGHT_EXPECT_GPU"
WORK_DEADLINE_S = WORK_LIMIT_S + 2.0
_DEADLINE_S = LIMIT_S + 2.0  # the first check of the lane pays for the children; the others read what it got
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def expected_count(context: Context) -> int | None:
    """GPUs the user expects: 0 = none wanted, None = whatever there is."""
    told = context.environ.get(EXPECT_VARIABLE, "").strip().lower()
    if told in {"0", "no", "false", "none", "off"}:
        return 0
    if told.isdecimal():
        return int(told)
    return 1 if context.expect_gpu or told in {"yes", "true", "on"} else None


def _readings(context: Context) -> Snapshot:
    expected = expected_count(context)
    if expected == 0:
        raise NotExpected(f"{EXPECT_VARIABLE} says that no GPU is expected")
    taken = context.shared.once(
        "gpu.readings", lambda: read_snapshot(context.environ, context.clock, stopped=context.stopped)
    )
    if taken.is_absent and expected is None:
        raise NotExpected("there is no NVIDIA GPU here, and none is expected")
    return taken


def snapshot(context: Context) -> Snapshot:
    """This round's readings: NVML's, and CUDA's where NVML does not tell what decides. Raises NotExpected where no
    GPU is and none is expected."""
    taken = _readings(context)
    return filled(taken, worked(context)) if is_wanting(taken) else taken


def image(context: Context) -> Image:
    """The image's manifest. Raises Unmeasured when there is one that cannot be understood."""
    read = context.shared.once(
        "image.manifest", lambda: read_image(manifest_path(context.environ, context.image_manifest))
    )
    if read.problem:
        raise Unmeasured(read.problem)
    return read


def first_device(taken: Snapshot) -> Device:
    """The device that the notebook will use. Raises Unmeasured when none can be read."""
    alive = [device for device in taken.devices if not device.lost]
    if not alive:
        raise Unmeasured(taken.why_absent("count") if taken.count is None else "no usable GPU is visible")
    return alive[0]


def worked(context: Context) -> Worked:
    """This round's work of the GPU. Raises NotExpected where no GPU is and none is expected."""
    taken = _readings(context)

    def work() -> Worked:
        longer = context.round_number > 0
        need = read_image(manifest_path(context.environ, context.image_manifest))
        return run_work(context.environ, context.clock, longer=longer, stopped=context.stopped, image=need)

    done = context.shared.once("gpu.work", work)
    failure = done.failure("cuda_start")
    if failure and failure.code in (LIBRARY_MISSING, NO_DEVICE) and not taken.count and not expected_count(context):
        raise NotExpected("there is no NVIDIA GPU that CUDA can use, and none is expected")
    return done


def result(context: Context, stage: str) -> tuple[Worked, Mapping[str, object]]:
    """What one stage of the work told. Raises Unmeasured with the reason when it told nothing."""
    done = worked(context)
    told = done.result(stage)
    if told is None:
        raise Unmeasured(done.why_not(stage))
    return done, told


def number(told: Mapping[str, object], key: str) -> float:
    """A number that a stage told. Raises Unmeasured when it is not there."""
    value = told.get(key)
    if not isinstance(value, int | float):
        raise Unmeasured(f"the GPU's work did not tell {key}")
    return float(value)


def gpu_check(
    name: str,
    title: str,
    unit: str,
    measure: Callable[[Context], Reading],
    limit: Limit,
    why: str,
    every_s: float | None = None,
    deadline_s: float = _DEADLINE_S,
    hard: bool = False,
) -> Check:
    """A check of the GPU lane."""
    return Check(name, title, unit, Lane.GPU, measure, limit, deadline_s, every_s, why, hard=hard)
