"""The GPU at work: it starts, copies, keeps what is written to its memory, and computes what it should.

One child process a round does all of it (preflight/gpu/work.py); these checks read what it told. Speeds warn: a
slow card is a nuisance, and what is slow depends on the work. Only proofs of broken hardware may reject a node:
the same memory word wrong again, results wrong again, codes that a healthy driver never answers.
"""

from __future__ import annotations

from collections.abc import Callable

from preflight.checks import Broken, Check, Context, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.gpu.cuda import LIBRARY_MISSING
from preflight.gpu.fault import describe_code, proven_fault
from preflight.gpu.promise import promised_flops, promised_link_bytes_per_s
from preflight.gpu.proof import wrong_copies, wrong_results
from preflight.gpu.round import NO_DEVICE, WORK_DEADLINE_S, gpu_check, number, result, worked
from preflight.gpu.worked import START_STAGES, WORK_STAGES
from preflight.model import Blame, Limit, Severity

_BROKEN_ADVICE = "the GPU of this node gives wrong results"


def _start(context: Context) -> Reading:
    done = worked(context)
    failure = done.failure(*START_STAGES)
    if failure is not None:
        if failure.code == LIBRARY_MISSING and failure.stage == "cuda_start":
            raise Broken(
                str(failure),
                blame=Blame.IMAGE,
                advice="NVIDIA_DRIVER_CAPABILITIES must hold 'compute'; otherwise only nvidia-smi sees the GPU",
            )
        if failure.code == NO_DEVICE and context.environ.get("CUDA_VISIBLE_DEVICES") is not None:
            raise Broken(
                f"CUDA_VISIBLE_DEVICES={context.environ['CUDA_VISIBLE_DEVICES']!r} hides the GPU",
                blame=Blame.ACCOUNT,
                advice="remove CUDA_VISIBLE_DEVICES from the deployment",
            )
        _raise_if_proven(failure.code, failure.call, failure.why)
        raise Unmeasured(str(failure))
    ready_s = done.told.get("cuda_ready")
    if not isinstance(ready_s, int | float):
        raise Unmeasured(done.why_not("cuda_ready"))
    return Reading(float(ready_s), dict(done.device))


def _raise_if_proven(code: int, call: str, why: str) -> None:
    fault = proven_fault(code)
    if fault is not None:
        raise Broken(describe_code(code, call, why), blame=fault.blame, advice=fault.advice, detail={"code": code})


def _sound(context: Context) -> Reading:
    """Fails when a known-good kernel or copy ended in a code that only broken hardware answers."""
    done = worked(context)
    failures = [failure for failure in done.failures if failure.stage in WORK_STAGES]
    for failure in failures:
        _raise_if_proven(failure.code, failure.call, failure.why)
    missing = [stage for stage in WORK_STAGES if stage not in done.told]
    if missing:
        raise Unmeasured(done.why_not(missing[0]))
    return Reading(0.0)


def _copy(way: str) -> Callable[[Context], Reading]:
    def measure(context: Context) -> Reading:
        _, told = result(context, "pipe")
        return Reading(number(told, f"{way}_median"), {key: told[key] for key in (way, "size_bytes", "pinned")})

    return measure


def _copy_share(context: Context) -> Reading:
    done, told = result(context, "pipe")
    promised = promised_link_bytes_per_s(done.result("link") or {})
    if promised is None:
        raise NotExpected("this driver does not tell the link's width and generation")
    slower = min(number(told, "h2d_median"), number(told, "d2h_median"))
    return Reading(round(slower / promised, 4), {"promised": promised, **(done.result("link") or {})})


def _copy_errors(context: Context) -> Reading:
    done, told = result(context, "pipe")
    return Reading(float(wrong_copies(done)), {"size_bytes": told["size_bytes"]})


def _compute(context: Context) -> Reading:
    done, told = result(context, "burn")
    promised = promised_flops(done.device)
    if promised is None:
        raise Unmeasured("the driver does not tell what this GPU should compute")
    detail = {"flops": told["flops"], "promised": promised, "launch_s": told["launch_s"]}
    return Reading(round(number(told, "flops_median") / promised, 4), detail)


def _compute_errors(context: Context) -> Reading:
    done, told = result(context, "burn")
    return Reading(float(wrong_results(done)), {key: told[key] for key in ("wrong_proofs", "wrong_launches")})


_SLOW_LINK = Limit(
    at_least=1.2e9,
    severity=Severity.WARN,
    advice="loading data onto the GPU is slow here: the card sits behind a narrow link",
    why="one PCIe 3 lane (a mining riser) gives 0.8 GB/s, four give 3; training reads batches at well under 1.2 GB/s",
)

CHECKS: tuple[Check, ...] = (
    gpu_check(
        "gpu.start",
        "CUDA starts",
        "s",
        _start,
        Limit(
            severity=Severity.REJECT,
            advice="CUDA does not work on this node's GPU",
            why="shown: a cold context takes 0.3 to 2 s; codes that prove nothing about the node end as unknown",
        ),
        "NVML may tell of a card that CUDA cannot use. A kernel with a known result is compiled and run.",
        deadline_s=WORK_DEADLINE_S,
    ),
    gpu_check(
        "gpu.sound",
        "GPU errors at work",
        "count",
        _sound,
        Limit(at_most=0.0, severity=Severity.REJECT, advice="the GPU fails while it works", why="known-good kernels"),
        "A card that dies under load answers with codes that a healthy one never gives to the same kernels.",
        hard=True,
    ),
    gpu_check("gpu.h2d", "Copy to the GPU", "B/s", _copy("h2d"), _SLOW_LINK, "Median of five pinned copies."),
    gpu_check("gpu.d2h", "Copy from the GPU", "B/s", _copy("d2h"), _SLOW_LINK, "Median of five pinned copies."),
    gpu_check(
        "gpu.link_share",
        "Copy speed, of the link's",
        "ratio",
        _copy_share,
        Limit(
            at_least=0.35,
            severity=Severity.WARN,
            advice="the link to the GPU carries far less than its width and generation promise",
            why="healthy links carry 0.75 to 0.9 of it; under a third something is wrong with the slot or the host",
        ),
        "The link's width and generation are read while it copies: at rest it powers down.",
    ),
    gpu_check(
        "gpu.copy_errors",
        "Words wrong after copying",
        "count",
        _copy_errors,
        Limit(at_most=0.0, severity=Severity.REJECT, advice=_BROKEN_ADVICE, why="a copy must not change a bit"),
        "What was made on the GPU goes to the host and back, and is compared.",
        hard=True,
    ),
    gpu_check(
        "gpu.compute",
        "GPU speed, of its rated",
        "ratio",
        _compute,
        Limit(
            at_least=0.5,
            severity=Severity.WARN,
            advice="the GPU computes at less than half of its rated speed: heat, power or another program",
            why="healthy cards reach 0.8 to 1.1 of multiprocessors x cores x clock x 2",
        ),
        "Single-precision multiply-adds in launches of 0.1 s, against the card's own attributes: no table of models.",
    ),
    gpu_check(
        "gpu.compute_errors",
        "Wrong GPU results",
        "count",
        _compute_errors,
        Limit(at_most=0.0, severity=Severity.REJECT, advice=_BROKEN_ADVICE, why="every bit is known beforehand"),
        "A chaotic iteration turns one wrong bit into a wrong result; the CPU computes the same bits.",
        hard=True,
    ),
)
