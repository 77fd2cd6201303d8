"""The fake NVIDIA driver: compiled from tests/fakes/*.c, and the profiles it plays."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FAKES = Path(__file__).resolve().parents[1] / "fakes"
KERNELS = FAKES.parents[1] / "preflight" / "gpu"
_CC = ("cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-ffp-contract=off")
_GIB = 1 << 30
_NVML = "PREFLIGHT_NVML_FAKE_"
_CUDA = "PREFLIGHT_CUDA_FAKE_"


def compile_fakes(folder: Path) -> dict[str, str]:
    """Builds both libraries under the driver's own file names; the environment that makes preflight use them."""
    built = {}
    for source, soname, variable in (
        ("fakenvml.c", "libnvidia-ml.so.1", "PREFLIGHT_NVML_LIB"),
        ("fakecuda.c", "libcuda.so.1", "PREFLIGHT_CUDA_LIB"),
    ):
        if not (FAKES / source).exists():
            continue
        target = folder / soname
        subprocess.run(
            [*_CC, f"-I{KERNELS}", f"-Wl,-soname,{soname}", "-o", str(target), str(FAKES / source), "-lm", "-lpthread"],
            check=True,
            timeout=60,
        )
        built[variable] = str(target)
    return built


@functools.cache
def fake_libraries() -> Mapping[str, str]:
    """`compile_fakes`, once a test process."""
    folder = Path(tempfile.mkdtemp(prefix="fakegpu-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return compile_fakes(folder)


@dataclass(frozen=True)
class FakeGpu:
    """One machine's driver. `faults` are NVML functions with what they do: a code, "hang" or "segv"."""

    libraries: Mapping[str, str]
    values: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, int | str] = field(default_factory=dict)
    cuda: Mapping[str, str] = field(default_factory=dict)
    once: Path | None = None  # faults only in the first process

    def environ(self) -> dict[str, str]:
        """What to put into the environment of whatever reads the GPU."""
        env = {"PATH": "/usr/bin:/bin", **self.libraries}
        env |= {_NVML + name: value for name, value in self.values.items()}
        same = {name: self.values[name] for name in ("CUDA", "CC", "NAME", "COUNT") if name in self.values}
        if self._hides_memory():
            same |= {"SAID_TOTAL": str(12 * _GIB), "SAID_FREE": "12000000000"}
        env |= {_CUDA + name: value for name, value in {**same, **self.cuda}.items()}  # one card, two libraries
        codes = [f"{name}={code}" for name, code in self.faults.items() if isinstance(code, int)]
        if codes:
            env[_NVML + "RC"] = ",".join(codes)
        for kind in ("hang", "segv", "noise"):
            named = [name for name, fault in self.faults.items() if fault == kind]
            if named:
                env[_NVML + kind.upper()] = ",".join(named)
        if self.once is not None:
            env[_NVML + "ONCE"] = str(self.once)
        return env

    def _hides_memory(self) -> bool:
        """Whether NVML does not tell the memory, so that CUDA's word counts: it must speak of the same card."""
        ways = (
            "nvmlInitWithFlags",
            "nvmlDeviceGetCount_v2",
            "nvmlDeviceGetHandleByIndex_v2",
            "nvmlDeviceGetMemoryInfo",
        )
        return any(way in self.faults for way in ways) or int(self.values.get("TOTAL", 0)) > 4096 * _GIB

    def but(
        self,
        *,
        values: Mapping[str, str] | None = None,
        faults: Mapping[str, int | str] | None = None,
        cuda: Mapping[str, str] | None = None,
        once: Path | None = None,
    ) -> FakeGpu:
        """The same machine, with these differences."""
        return FakeGpu(
            self.libraries,
            {**self.values, **(values or {})},
            {**self.faults, **(faults or {})},
            {**self.cuda, **(cuda or {})},
            once or self.once,
        )


_NONE_ON_WSL = {
    "nvmlDeviceGetComputeRunningProcesses_v3": 3,
    "nvmlDeviceGetEnforcedPowerLimit": 3,
    "nvmlDeviceGetCurrPcieLinkGeneration": 3,
    "nvmlDeviceGetCurrPcieLinkWidth": 3,
}

# What GeForce drivers answer, on Linux and through WSL2's GPU paravirtualisation (which shows the Windows driver's
# number). 516 is the oldest seen; 999 is its word for "not supported". 610 renamed nvidia-smi's banner.
PROFILES: dict[str, tuple[dict[str, str], dict[str, int | str]]] = {
    "linux-535": ({"DRIVER": "535.183.01", "CUDA": "12020"}, {}),
    "linux-570": ({"DRIVER": "570.86.15", "CUDA": "12080"}, {}),
    "linux-580-5090": (
        {
            "DRIVER": "580.95.05",
            "CUDA": "13000",
            "CC": "12.0",
            "NAME": "NVIDIA GeForce RTX 5090",
            "TOTAL": str(32 * _GIB),
            "FREE": str(31 * _GIB),
        },
        {},
    ),
    "wsl2-516": (
        {"DRIVER": "516.59", "CUDA": "11070"},
        {
            **_NONE_ON_WSL,
            "nvmlDeviceGetUtilizationRates": 999,
            "nvmlDeviceGetCurrentClocksEventReasons": 13,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 999,
            "nvmlDeviceGetClockInfo": 999,
        },
    ),
    "wsl2-552": ({"DRIVER": "552.44", "CUDA": "12040"}, {**_NONE_ON_WSL, "nvmlDeviceGetCurrentClocksEventReasons": 3}),
    "wsl2-572": ({"DRIVER": "572.61", "CUDA": "12080"}, dict(_NONE_ON_WSL)),
    "wsl2-581": ({"DRIVER": "581.29", "CUDA": "13000"}, dict(_NONE_ON_WSL)),
    "wsl2-610": ({"DRIVER": "610.62", "CUDA": "13030"}, dict(_NONE_ON_WSL)),
}


def profile(name: str = "linux-570") -> FakeGpu:
    """A machine by its name in PROFILES."""
    values, faults = PROFILES[name]
    return FakeGpu(fake_libraries(), dict(values), dict(faults))
