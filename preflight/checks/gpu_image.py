"""The driver and the card against what this image needs (preflight/image.py holds the rules).

Only a driver that is too old is the node's: a library without code for this card, or forward-compatibility
libraries on a GeForce, come with the image to every node.
"""

from __future__ import annotations

from preflight.checks import Broken, Check, Context, NotExpected, Reading
from preflight.errors import Unmeasured
from preflight.gpu.round import first_device, gpu_check, image, snapshot, worked
from preflight.gpu.snapshot import Snapshot
from preflight.image import Fit, fit_arch, fit_driver, fit_jit, forward_compat_dir, show_cuda
from preflight.model import Blame, Limit, Severity, Status

_OTHER_IMAGE = "another node cannot cure it: choose another image"


def _driver_cuda(taken: Snapshot) -> tuple[int, int]:
    if taken.cuda is None:
        raise Unmeasured(taken.why_absent("cuda"))
    return taken.cuda


def _demand(fit: Fit, value: str) -> Reading:
    """A met need as a reading; an unmet one as Broken, with who must act."""
    if fit.status is Status.PASS:
        return Reading(value, fit.detail)
    raise Broken(fit.why, blame=fit.blame, advice=fit.advice, detail=fit.detail)


def _cuda(context: Context) -> Reading:
    taken = snapshot(context)
    driver = _driver_cuda(taken)
    capability = next((device.capability for device in taken.devices if not device.lost), None)
    return _demand(fit_driver(driver, image(context), capability), show_cuda(driver))


def _ptx_jit(context: Context) -> Reading:
    driver = _driver_cuda(snapshot(context))
    need = image(context)
    if not need.jit_users:
        raise NotExpected("nothing in this image compiles PTX at run time")
    return _demand(fit_jit(driver, need), show_cuda(driver))


def _capability(context: Context) -> Reading:
    """Fails when any library of the image has no code for this GPU; PTX only is told by gpu.native_code."""
    taken = snapshot(context)
    device = first_device(taken)
    if device.capability is None:
        raise Unmeasured(taken.why_absent("capability", device.index))
    value = f"{device.capability[0]}.{device.capability[1]}"
    need = image(context)
    for framework in need.frameworks:
        fit = fit_arch(device.capability, framework, taken.cuda, need)
        if fit.status is Status.FAIL:
            return _demand(fit, value)
    return Reading(value, {"libraries": [framework.name for framework in need.frameworks]})


def _native_code(context: Context) -> Reading:
    taken = snapshot(context)
    device = first_device(taken)
    if device.capability is None:
        raise Unmeasured(taken.why_absent("capability", device.index))
    need = image(context)
    if not need.frameworks:
        raise NotExpected("the image names no library with GPU code")
    for framework in need.frameworks:
        fit = fit_arch(device.capability, framework, taken.cuda, need)
        if fit.status is Status.WARN:
            return _demand(fit, "")
    return Reading(f"{device.capability[0]}.{device.capability[1]}")


def _forward_compat(context: Context) -> Reading:
    """Only GeForce cards are known to refuse them beforehand; of others CUDA's own answer (804) tells."""
    taken = snapshot(context)
    found = forward_compat_dir(image(context), context.environ.get("LD_LIBRARY_PATH", ""))
    if not found:
        return Reading("none")
    name = next((device.name for device in taken.devices if device.name), None) or ""
    if "GeForce" in name or worked(context).told.get("compat_left_out"):
        raise Broken(
            f"LD_LIBRARY_PATH holds forward-compatibility libraries ({found}), which this GPU does not support",
            blame=Blame.IMAGE,
            advice="with them every CUDA call fails with error 804; they are left out when JupyterLab is started",
        )
    return Reading(found)


def _image_memory(context: Context) -> Reading:
    need = image(context).memory_bytes
    if need is None:
        raise NotExpected("the image names no least GPU memory")
    device = first_device(snapshot(context))
    if device.memory_total_bytes is None:
        raise Unmeasured("the driver does not tell the memory of this GPU")
    if device.memory_total_bytes < need:
        raise Broken(
            f"the image needs {need} bytes of GPU memory, this GPU has {device.memory_total_bytes}",
            blame=Blame.ACCOUNT,
            advice="choose a GPU class with more memory: another node of the same class has no more",
        )
    return Reading(float(device.memory_total_bytes), {"needed_bytes": need})


# A broken need of severity NOTE is shown as a warning: the work goes on, more slowly or in part.
CHECKS: tuple[Check, ...] = (
    gpu_check(
        "gpu.cuda",
        "CUDA of the driver",
        "version",
        _cuda,
        Limit(
            severity=Severity.REJECT,
            advice="the driver is too old for this image's CUDA",
            why="minor-version compatibility: any driver of the toolkit's major version or later runs its binaries",
        ),
        "The driver's own number decides, not a table of driver versions (WSL2 shows the Windows driver's) and not "
        "nvidia-smi's banner, whose wording changed with driver 610.",
    ),
    gpu_check(
        "gpu.ptx_jit",
        "Run-time compilation (PTX)",
        "version",
        _ptx_jit,
        Limit(
            severity=Severity.NOTE,
            advice="code compiled at run time fails with error 222 on this driver",
            why="a driver refuses PTX of a newer toolkit; ready-made kernels still run, so it is no reason to reject",
        ),
        "torch.compile, Triton, Numba and CuPy hand PTX to the driver.",
    ),
    gpu_check(
        "gpu.compute_capability",
        "Compute capability",
        "version",
        _capability,
        Limit(
            severity=Severity.REJECT,
            blame=Blame.IMAGE,
            advice=_OTHER_IMAGE,
            why="binaries run within their major version; only PTX is compiled for newer ones",
        ),
        "The image's libraries must hold code for this GPU, or every kernel ends in 'no kernel image is available'.",
    ),
    gpu_check(
        "gpu.native_code",
        "Ready-made code for this GPU",
        "version",
        _native_code,
        Limit(
            severity=Severity.NOTE,
            blame=Blame.IMAGE,
            advice="the first use of the GPU compiles for minutes",
            why="PTX alone works, slowly at first",
        ),
        "A library that has only PTX for this GPU works, after a long first start.",
    ),
    gpu_check(
        "gpu.forward_compat",
        "No forward-compatibility files",
        "",
        _forward_compat,
        Limit(
            severity=Severity.NOTE,
            blame=Blame.IMAGE,
            advice=_OTHER_IMAGE,
            why="repaired when kernels start, so a warning",
        ),
        "cuda-compat in LD_LIBRARY_PATH ends in error 804 on every GeForce.",
    ),
    gpu_check(
        "gpu.image_memory",
        "GPU memory that the image needs",
        "B",
        _image_memory,
        Limit(severity=Severity.NOTE, blame=Blame.ACCOUNT, why="the image's own statement"),
        "The image's manifest may name the least memory that its work needs.",
    ),
)
