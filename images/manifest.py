"""Print what this image needs of a node, as JSON: run once at build, in the user's environment, read by preflight.

Asking the frameworks takes seconds (they are imported); reading the file takes a millisecond. Format:
docs/image-manifest.md. Standard library only, besides the frameworks that are there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

# Libraries that hand PTX of the image's toolkit to the driver at run time.
JIT_USERS = ("cupy", "numba", "triton")
# The oldest Linux driver of each CUDA major, by NVIDIA's compatibility guide.
MIN_DRIVERS = {12: "525.60.13", 13: "580.65.06"}
FRAMEWORKS = ("torch", "tensorflow", "tensorflow-cpu")


def installed() -> dict[str, str]:
    """Name -> version of every distribution in the environment that runs this."""
    found = {dist.metadata["Name"].lower(): dist.version for dist in importlib.metadata.distributions()}
    return dict(sorted(found.items()))


def torch_entry() -> dict[str, Any] | None:
    """PyTorch's own word: its CUDA and the architectures that it was compiled for (needs no GPU)."""
    try:
        import torch
    except ImportError:
        return None
    flags = torch._C._cuda_getArchFlags() if torch.version.cuda else None
    return {"version": torch.__version__, "toolkit": short(torch.version.cuda), "arch_list": (flags or "").split()}


def tensorflow_entry() -> dict[str, Any] | None:
    """TensorFlow's own word, from its build information."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow
    except ImportError:
        return None
    build = tensorflow.sysconfig.get_build_info()
    if not build.get("is_cuda_build"):
        return {"version": tensorflow.__version__, "toolkit": None, "arch_list": []}
    return {
        "version": tensorflow.__version__,
        "toolkit": short(str(build.get("cuda_version") or "")),
        "arch_list": list(build.get("cuda_compute_capabilities") or []),
    }


def short(version: str | None) -> str | None:
    """ "12.8" of "12.8.1"; None of anything that is no version."""
    found = re.match(r"(\d+\.\d+)", version or "")
    return found.group(1) if found else None


def describe(flavour: str, version: str, nvcc: Path) -> dict[str, Any]:
    """The manifest. Frameworks without GPU code are listed under packages only."""
    packages = installed()
    frameworks = {
        name: entry for name, entry in (("torch", torch_entry()), ("tensorflow", tensorflow_entry())) if entry
    }
    on_gpu = {name: entry for name, entry in frameworks.items() if entry["toolkit"]}
    toolkits = [tuple(int(part) for part in entry["toolkit"].split(".")) for entry in on_gpu.values()]
    newest = max(toolkits, default=None)
    manifest: dict[str, Any] = {
        "flavour": flavour,
        "version": version,
        "python": ".".join(map(str, sys.version_info[:3])),
        "frameworks": on_gpu,
        "packages": packages,
    }
    if newest:
        manifest["cuda"] = {
            "toolkit": f"{newest[0]}.{newest[1]}",
            "min_driver": MIN_DRIVERS[newest[0]],
            "jit_users": [name for name in JIT_USERS if name in packages],
            "compat_dirs": [],
        }
    if nvcc.exists():
        # Programs that this nvcc builds need a driver for its own major, whatever the frameworks need.
        manifest["nvcc"] = {"toolkit": nvcc_version(nvcc), "min_driver": MIN_DRIVERS[13]}
    return manifest


def nvcc_version(nvcc: Path) -> str | None:
    """Of the compiler's wheel, from its metadata."""
    for metadata in nvcc.glob("nvidia_cuda_nvcc-*.dist-info"):
        return short(metadata.name.removeprefix("nvidia_cuda_nvcc-"))
    return None


def main() -> None:
    """Write the JSON to stdout; whatever the frameworks print goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--nvcc", type=Path, default=Path("/opt/nvcc"))
    chosen = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        manifest = describe(chosen.flavour, chosen.version, chosen.nvcc)
    json.dump(manifest, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
