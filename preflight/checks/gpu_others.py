"""The other GPUs of a node that has several: each must start, keep its memory and compute, like the first.

The first one is measured alone (preflight/checks/gpu_work.py); then all others work at the same time, a process
each. Their speeds are not judged: they share links and power.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from preflight.checks import Check, Context, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.gpu.proof import proofs
from preflight.gpu.round import WORK_DEADLINE_S, gpu_check, snapshot, worked
from preflight.gpu.worked import Worked, run_work
from preflight.image import manifest_path, read_image
from preflight.model import Limit, Severity

_MOST = 16  # GPUs of one container


def _others(context: Context) -> Reading:
    count = snapshot(context).count or 0
    first = worked(context).result("cuda_start") or {}
    visible = first.get("count")
    if isinstance(visible, int):
        count = min(count, visible, _MOST)  # CUDA_VISIBLE_DEVICES may hide some
    if count < 2:
        raise NotExpected("there is no second GPU")
    need = read_image(manifest_path(context.environ, context.image_manifest))
    longer = context.round_number > 0

    def work(ordinal: int) -> Worked:
        return run_work(
            context.environ, context.clock, longer=longer, stopped=context.stopped, image=need, ordinal=ordinal
        )

    with ThreadPoolExecutor(count - 1, "gpu-others") as pool:
        results = dict(zip(range(1, count), pool.map(work, range(1, count)), strict=True))
    broken = {ordinal: list(found) for ordinal, one in results.items() if (found := proofs(one))}
    unknown = {n: one.why_not("memory_tested") for n, one in results.items() if one.result("memory_tested") is None}
    if unknown and not broken:
        raise Unmeasured("; ".join(f"GPU {ordinal}: {why}" for ordinal, why in unknown.items()))
    advice = "; ".join(f"GPU {ordinal}: {found[0]}" for ordinal, found in broken.items())
    return Reading(float(len(broken)), {"others": count - 1, "broken": broken, "unknown": unknown}, advice=advice)


CHECKS: tuple[Check, ...] = (
    gpu_check(
        "gpu.others",
        "Other GPUs that are broken",
        "count",
        _others,
        Limit(
            at_most=0.0,
            severity=Severity.REJECT,
            advice="one of this node's GPUs is broken",
            why="the same proofs as for the first GPU: memory wrong again, wrong results, codes of broken hardware",
        ),
        "A node with several GPUs is as good as the worst of them. Skipped where there is one.",
        deadline_s=WORK_DEADLINE_S,
        hard=True,
    ),
)
