"""What this image needs of a GPU node, from a manifest baked at build time, and whether the node can give it.

Reading a file takes a millisecond; `import torch` to ask the same takes 2 to 10 s. `fit_driver` and `fit_arch` are
pure; the rules are those of NVIDIA's CUDA compatibility guide and of the CUDA C++ programming guide (binary
compatibility, PTX compatibility). The manifest's format is described in docs/image-manifest.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preflight.model import Blame, Status

MANIFEST_VARIABLE = "PREFLIGHT_IMAGE_MANIFEST"
MANIFEST_PATH = Path("/opt/preflight/image.json")

Cuda = tuple[int, int]  # (13, 1) is 13.1; never a float, in which 12.10 is less than 12.9

# The last toolkit that builds for a generation older than Turing is 12.9: CUDA 13 dropped Maxwell, Pascal and Volta.
_OLDEST_FOR_CUDA_13 = (7, 5)
# Integrated chips: their binaries run on no other chip and no other's run on them.
_TEGRA = frozenset({(5, 3), (6, 2), (7, 2), (8, 7), (10, 1), (11, 0)})


@dataclass(frozen=True, slots=True)
class Framework:
    """One library with GPU code of its own. `arch_list` as the library tells it: sm_86, compute_90, sm_90a."""

    name: str
    version: str = ""
    toolkit: Cuda | None = None  # when it brings another one than the image
    arch_list: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """The manifest. Everything is optional: an image without a GPU part needs nothing."""

    toolkit: Cuda | None = None
    jit_users: tuple[str, ...] = ()  # libraries that hand PTX of that toolkit to the driver (triton, numba, cupy)
    frameworks: tuple[Framework, ...] = ()
    compat_dirs: tuple[str, ...] = ()  # folders with forward-compatibility libraries (cuda-compat)
    memory_bytes: int | None = None  # least GPU memory the image's work needs
    problem: str = ""  # why the manifest could not be read


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether one need is met. `blame` and `advice` only when it is not."""

    status: Status
    why: str
    blame: Blame | None = None
    advice: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


def parse_cuda(text: object) -> Cuda | None:
    """(12, 8) of "12.8" or "12.8.1"; None for anything that is no version."""
    found = re.fullmatch(r"\s*(\d{1,3})\.(\d{1,3})(\.\d+)*\s*", text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def show_cuda(version: Cuda | None) -> str:
    """ "12.8", or "?" """
    return "?" if version is None else f"{version[0]}.{version[1]}"


def manifest_path(environ: Mapping[str, str], otherwise: Path = MANIFEST_PATH) -> Path:
    """Where the manifest is."""
    return Path(environ[MANIFEST_VARIABLE]) if environ.get(MANIFEST_VARIABLE) else otherwise


def read_image(path: Path) -> Image:
    """The manifest at `path`; an empty Image when there is none, one with `problem` when it cannot be understood."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Image()
    except (OSError, ValueError) as error:
        return Image(problem=f"the image manifest {path} cannot be read: {error}")
    if not isinstance(content, dict):
        return Image(problem=f"the image manifest {path} is not a JSON object")
    try:
        return parse_image(content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return Image(problem=f"the image manifest {path} is not understood: {error}")


def parse_image(content: Mapping[str, object]) -> Image:
    """The manifest's JSON object. Raises ValueError for a field of the wrong form."""
    cuda = _object(content, "cuda")
    needs = _object(content, "needs")
    memory = needs.get("gpu_memory_bytes")
    if memory is not None and (not isinstance(memory, int) or memory < 0):
        raise ValueError("needs.gpu_memory_bytes is not a number of bytes")
    return Image(
        toolkit=_version(cuda, "toolkit"),
        jit_users=_strings(cuda, "jit_users"),
        compat_dirs=_strings(cuda, "compat_dirs"),
        frameworks=tuple(
            Framework(
                name=name,
                version=str(entry.get("version", "")),
                toolkit=_version(entry, "toolkit"),
                arch_list=_strings(entry, "arch_list"),
            )
            for name, entry in (
                (name, _object(frameworks, name))
                for frameworks in [_object(content, "frameworks")]
                for name in frameworks
            )
        ),
        memory_bytes=memory,
    )


def fit_driver(driver: Cuda, image: Image, capability: tuple[int, int] | None = None) -> Fit:
    """Whether a driver whose own CUDA number is `driver` runs what the toolkit of the image built.

    Newer major: yes. Same major, same or newer minor: yes. Same major, older minor: yes by minor-version
    compatibility (see `fit_jit` for PTX). Older major: no, and another node may do better, unless no driver that
    supports this GPU generation could ever do it.
    """
    toolkit = max((t for t in (image.toolkit, *(f.toolkit for f in image.frameworks)) if t), default=None)
    if toolkit is None:
        return Fit(Status.PASS, f"the driver supports CUDA {show_cuda(driver)}; the image names no toolkit")
    detail = {"driver_cuda": show_cuda(driver), "image_cuda": show_cuda(toolkit)}
    if driver[0] >= toolkit[0]:
        return Fit(Status.PASS, f"driver CUDA {show_cuda(driver)}, image CUDA {show_cuda(toolkit)}", detail=detail)
    why = f"the image is built with CUDA {show_cuda(toolkit)}, the driver supports only {show_cuda(driver)}"
    if capability is not None and toolkit[0] >= 13 and capability < _OLDEST_FOR_CUDA_13:
        return Fit(
            Status.FAIL,
            f"{why}, and CUDA {toolkit[0]} no longer supports compute capability {capability[0]}.{capability[1]}",
            Blame.IMAGE,
            "use an image built with CUDA 12 for GPUs of this generation: another node of the class cannot cure it",
            detail,
        )
    return Fit(
        Status.FAIL, why, Blame.NODE, f"a node whose driver supports CUDA {toolkit[0]} or later is needed", detail
    )


def fit_jit(driver: Cuda, image: Image) -> Fit:
    """Whether PTX that the image's libraries compile at run time is understood by the driver.

    PTX of a newer toolkit than the driver's own is refused with CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222), even
    where minor-version compatibility lets binaries run.
    """
    if not image.jit_users or image.toolkit is None:
        return Fit(Status.PASS, "nothing in this image compiles PTX at run time")
    detail = {"driver_cuda": show_cuda(driver), "image_cuda": show_cuda(image.toolkit), "jit": list(image.jit_users)}
    if driver >= image.toolkit:
        return Fit(Status.PASS, f"the driver understands PTX of CUDA {show_cuda(image.toolkit)}", detail=detail)
    return Fit(
        Status.WARN,
        f"{', '.join(image.jit_users)} hand PTX of CUDA {show_cuda(image.toolkit)} to a driver for "
        f"{show_cuda(driver)}: it is refused with error 222",
        Blame.NODE,
        "code that is compiled at run time (torch.compile, Triton, Numba, CuPy) fails here; ready-made kernels work",
        detail,
    )


def fit_arch(capability: tuple[int, int], framework: Framework, driver: Cuda | None, image: Image) -> Fit:
    """Whether a library's GPU code runs on a GPU of that compute capability.

    PASS: a binary for it is there. WARN: only PTX is, which the driver compiles on first use (minutes, cached).
    FAIL: "no kernel image is available for execution on the device". The image is to blame for what it lacks; the
    node only where a newer driver would compile the PTX that is there.
    """
    here = f"{capability[0]}.{capability[1]}"
    detail = {"capability": here, "library": framework.name, "arch_list": list(framework.arch_list)}
    if not framework.arch_list:
        return Fit(Status.PASS, f"{framework.name} does not tell which GPUs it is built for", detail=detail)
    if any(_runs_binary(capability, arch) for arch in framework.arch_list):
        return Fit(Status.PASS, f"{framework.name} has code for compute capability {here}", detail=detail)
    label = f"{framework.name} {framework.version}".strip()
    if any(_runs_ptx(capability, arch) for arch in framework.arch_list):
        toolkit = framework.toolkit or image.toolkit
        if driver is not None and toolkit is not None and driver < toolkit:
            return Fit(
                Status.FAIL,
                f"{label} has only PTX of CUDA {show_cuda(toolkit)} for compute capability {here}, which a driver for "
                f"{show_cuda(driver)} refuses with error 222",
                Blame.NODE,
                "a node with a newer driver, or an image with a binary for this GPU, is needed",
                detail,
            )
        return Fit(
            Status.WARN,
            f"{label} has no binary for compute capability {here}; the driver compiles its PTX at first use",
            Blame.IMAGE,
            "the first use of the GPU takes minutes; use an image whose libraries are built for this GPU",
            detail,
        )
    return Fit(
        Status.FAIL,
        f"{label} is built for {', '.join(framework.arch_list)} and has no code for compute capability {here}",
        Blame.IMAGE,
        "another node of this GPU class cannot cure it: use an image whose libraries support this GPU",
        detail,
    )


def forward_compat_dir(image: Image, library_path: str) -> str:
    """The folder of LD_LIBRARY_PATH that holds forward-compatibility libraries, "" when there is none.

    They work on data-centre GPUs only; on GeForce every CUDA call answers 804 while they are found first.
    """
    for folder in library_path.split(":"):
        plain = folder.rstrip("/")
        if plain and (plain in {entry.rstrip("/") for entry in image.compat_dirs} or _is_compat(plain)):
            return folder
    return ""


def without_compat(image: Image, library_path: str) -> str:
    """LD_LIBRARY_PATH without forward-compatibility folders: the repair of error 804 before a kernel is started."""
    known = {entry.rstrip("/") for entry in image.compat_dirs}
    return ":".join(
        folder
        for folder in library_path.split(":")
        if folder and folder.rstrip("/") not in known and not _is_compat(folder.rstrip("/"))
    )


def _is_compat(folder: str) -> bool:
    return re.search(r"/cuda(-[\d.]+)?/compat$", folder) is not None


_ARCH = re.compile(r"(sm|compute)_(\d{2,3})([af]?)")


def _parse_arch(arch: str) -> tuple[str, tuple[int, int], str] | None:
    found = _ARCH.fullmatch(arch.strip())
    if found is None:
        return None
    digits = found[2]
    return found[1], (int(digits[:-1]), int(digits[-1])), found[3]


def _runs_binary(capability: tuple[int, int], arch: str) -> bool:
    parsed = _parse_arch(arch)
    if parsed is None or parsed[0] != "sm":
        return False
    _, built, suffix = parsed
    if built == capability:
        return True
    if suffix == "a" or built in _TEGRA or capability in _TEGRA:
        return False
    return built[0] == capability[0] and built[1] <= capability[1]


def _runs_ptx(capability: tuple[int, int], arch: str) -> bool:
    parsed = _parse_arch(arch)
    if parsed is None or parsed[0] != "compute":
        return False
    _, built, suffix = parsed
    if suffix == "a":
        return built == capability
    if suffix == "f":
        return built[0] == capability[0] and built[1] <= capability[1]
    return built <= capability


def _object(content: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not an object")
    return found


def _strings(content: Mapping[str, object], name: str) -> tuple[str, ...]:
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise ValueError(f"{name} is not a list of strings")
    return tuple(found)


def _version(content: Mapping[str, object], name: str) -> Cuda | None:
    if content.get(name) is None:
        return None
    version = parse_cuda(content[name])
    if version is None:
        raise ValueError(f"{name} is not a version: {content[name]!r}")
    return version
