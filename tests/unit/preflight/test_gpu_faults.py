"""Every fault of a GPU, from the driver's answer to the verdict: the right check, the right blame, and no node lost
for anything that is not proven to be the node's.

Each fault plays on one profile by default, on all of them with PREFLIGHT_LONG_TESTS=1.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from preflight.checks import Check, gpu, gpu_image, gpu_memory, gpu_others, gpu_work
from preflight.examine import Setup, examine
from preflight.limits import policy_from
from preflight.model import Blame, Finding, Status
from preflight.platforms.bare import Bare
from preflight.policy import may_reject, needs_attention
from sync.clock import SystemClock
from tests.support.fakegpu import PROFILES, FakeGpu, profile

READING: tuple[Check, ...] = (*gpu.CHECKS, *gpu_image.CHECKS)
CHECKS: tuple[Check, ...] = (*READING, *gpu_memory.CHECKS, *gpu_others.CHECKS, *gpu_work.CHECKS)
MIB, GIB = 1 << 20, 1 << 30
TORCH = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_120", "compute_120")
LONG = os.environ.get("PREFLIGHT_LONG_TESTS") == "1"
SMALL = {"TOTAL": str(16 * MIB)}  # the card's memory under test: small is quick


@dataclass(frozen=True)
class Fault:
    """What is done to a machine, and what must come of it."""

    name: str
    check: str  # that must tell of it
    status: Status
    blame: Blame | None = None  # None: unknown, or nothing to blame
    values: Mapping[str, str] = field(default_factory=dict)
    nvml: Mapping[str, int | str] = field(default_factory=dict)
    cuda: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    manifest: object = None
    also: tuple[str, ...] = ()  # other checks that prove the same

    @property
    def rejecting(self) -> set[str]:
        """The checks that may cost the node."""
        own = {self.check} if self.status is Status.FAIL and self.blame is Blame.NODE else set()
        return own | set(self.also)


UNKNOWN, WARN, FAIL, PASS, SKIP = Status.UNKNOWN, Status.WARN, Status.FAIL, Status.PASS, Status.SKIP
NODE, IMAGE, ACCOUNT, PLATFORM = Blame.NODE, Blame.IMAGE, Blame.ACCOUNT, Blame.PLATFORM


def nvml_faults() -> Iterator[Fault]:
    """CUDA stands in where NVML does not tell what decides; what merely informs is unknown, or skipped where the
    driver says that it does not tell it."""
    stands_in = {
        "nvmlInitWithFlags": "gpu.count",
        "nvmlDeviceGetCount_v2": "gpu.count",
        "nvmlDeviceGetMemoryInfo": "gpu.memory_free",
        "nvmlDeviceGetCudaComputeCapability": "gpu.compute_capability",
    }
    informs = {
        "nvmlDeviceGetName": "gpu.name",
        "nvmlDeviceGetTemperature": "gpu.temperature",
        "nvmlDeviceGetCurrPcieLinkWidth": "gpu.pcie",
    }
    for code in (1, 2, 3, 4, 9, 13, 15, 999):
        for call, check in stands_in.items():
            if code == 15 and check != "gpu.count":
                continue  # a lost device: below
            yield Fault(f"{call}={code}", check, PASS, nvml={call: code})
        for call, check in informs.items():
            if code not in (9, 15):
                yield Fault(f"{call}={code}", check, SKIP if code in (3, 13, 999) else UNKNOWN, nvml={call: code})
    for code in (1, 999):
        yield Fault(f"driver version {code}", "gpu.driver", UNKNOWN, nvml={"nvmlSystemGetDriverVersion": code})
    for kind in ("segv", "hang"):
        for call in ("nvmlInitWithFlags", "nvmlDeviceGetMemoryInfo"):
            yield Fault(f"{call} {kind}", stands_in[call], PASS, nvml={call: kind})
        for call in ("nvmlDeviceGetName", "nvmlDeviceGetTemperature"):
            yield Fault(f"{call} {kind}", informs[call], UNKNOWN, nvml={call: kind})
        both = {"nvmlInitWithFlags": kind}
        yield Fault(f"NVML and CUDA {kind}", "gpu.count", UNKNOWN, nvml=both, cuda={kind.upper(): "cuInit"})
    dead = {"RC": "cuInit=100"}
    yield Fault(
        "driver not loaded", "gpu.count", FAIL, NODE, nvml={"nvmlInitWithFlags": 9}, cuda=dead, also=("gpu.start",)
    )
    yield Fault("no device", "gpu.count", FAIL, NODE, values={"COUNT": "0"}, cuda=dead, also=("gpu.start",))
    yield Fault("no device by NVML alone", "gpu.count", PASS, values={"COUNT": "0"}, cuda={"COUNT": "1"})
    yield Fault(
        "NVML silent, CUDA without a device",
        "gpu.count",
        UNKNOWN,
        nvml={"nvmlInitWithFlags": 999},
        cuda=dead,
        also=("gpu.start",),
    )
    yield Fault("two devices", "gpu.count", PASS, values={"COUNT": "2"})
    yield Fault("eight devices", "gpu.count", PASS, values={"COUNT": "8"})
    yield Fault("lost", "gpu.count", FAIL, NODE, values={"LOST": "0"})
    yield Fault("lost on the way", "gpu.count", FAIL, NODE, nvml={"nvmlDeviceGetMemoryInfo": 15})
    yield Fault("needs a reset", "gpu.count", FAIL, NODE, nvml={"nvmlDeviceGetHandleByIndex_v2": 16})
    yield Fault("fewer than wanted", "gpu.count", FAIL, NODE, environ={"PREFLIGHT_EXPECT_GPU": "2"})
    garbage = {"TOTAL": str(17179869184 * GIB), "FREE": "1"}
    yield Fault("garbage memory", "gpu.memory_total", PASS, values=garbage)
    yield Fault("garbage temperature", "gpu.temperature", UNKNOWN, values={"TEMP": "4294967295"})
    yield Fault("hot", "gpu.temperature", WARN, NODE, values={"TEMP": "97"})
    yield Fault("memory held", "gpu.memory_held", WARN, NODE, values={"TOTAL": str(12 * GIB), "FREE": str(GIB)})
    limit = {"PREFLIGHT_LIMIT_GPU_MEMORY_TOTAL_AT_LEAST": "20e9"}
    small = {"TOTAL": str(8 * GIB), "FREE": str(7 * GIB)}
    yield Fault("too small for the user", "gpu.memory_total", FAIL, NODE, values=small, environ=limit)


def image_faults() -> Iterator[Fault]:
    cuda13 = {"cuda": {"toolkit": "13.0"}}
    yield Fault("driver too old", "gpu.cuda", FAIL, NODE, values={"CUDA": "12080"}, manifest=cuda13)
    yield Fault("driver of 610", "gpu.cuda", PASS, values={"CUDA": "13030", "DRIVER": "610.62"}, manifest=cuda13)
    yield Fault("driver 13.10", "gpu.cuda", PASS, values={"CUDA": "13100"}, manifest={"cuda": {"toolkit": "13.9"}})
    yield Fault("driver not told", "gpu.cuda", UNKNOWN, values={"CUDA": "0"}, cuda={"CUDA": "0"}, manifest=cuda13)
    yield Fault("driver told by CUDA", "gpu.cuda", PASS, values={"CUDA": "0"}, cuda={"CUDA": "13000"}, manifest=cuda13)
    yield Fault("Pascal and CUDA 13", "gpu.cuda", FAIL, IMAGE, values={"CUDA": "12080", "CC": "6.1"}, manifest=cuda13)
    jit = {"cuda": {"toolkit": "12.8", "jit_users": ["triton"]}}
    yield Fault("error 222 ahead", "gpu.ptx_jit", WARN, NODE, values={"CUDA": "12040"}, manifest=jit)
    old = {"frameworks": {"torch": {"arch_list": ["sm_80", "sm_90"]}}}
    yield Fault("no kernel image", "gpu.compute_capability", FAIL, IMAGE, values={"CC": "12.0"}, manifest=old)
    ptx = {"frameworks": {"tensorflow": {"arch_list": ["sm_80", "compute_90"]}}}
    yield Fault("only PTX", "gpu.native_code", WARN, IMAGE, values={"CC": "12.0"}, manifest=ptx)
    compat = {"LD_LIBRARY_PATH": "/usr/local/cuda/compat:/usr/lib"}
    yield Fault("compat ahead of 804", "gpu.forward_compat", WARN, IMAGE, environ=compat)
    large = {"needs": {"gpu_memory_bytes": 48 * GIB}}
    yield Fault("card too small for the image", "gpu.image_memory", WARN, ACCOUNT, manifest=large)
    yield Fault("bad manifest", "gpu.cuda", UNKNOWN, manifest="{")


def cuda_faults() -> Iterator[Fault]:
    start = {
        "cuInit=100": (FAIL, NODE),
        "cuInit=3": (UNKNOWN, None),
        "cuInit=101": (UNKNOWN, None),
        "cuInit=802": (UNKNOWN, None),
        "cuInit=803": (FAIL, PLATFORM),
        "cuInit=804": (FAIL, IMAGE),
        "cuInit=34": (FAIL, IMAGE),
        "cuInit=999": (UNKNOWN, None),
        "cuDevicePrimaryCtxRetain=2": (UNKNOWN, None),
        "cuDevicePrimaryCtxRetain=46": (UNKNOWN, None),
        "cuDevicePrimaryCtxRetain=214": (FAIL, NODE),
        "cuModuleLoadDataEx=218": (UNKNOWN, None),
        "cuModuleLoadDataEx=221": (FAIL, PLATFORM),
        "cuModuleLoadDataEx=222": (UNKNOWN, None),
        "cuModuleGetFunction=500": (UNKNOWN, None),
        "cuLaunchKernel=719": (FAIL, NODE),
        "cuLaunchKernel=702": (UNKNOWN, None),
        "cuCtxSynchronize=700": (FAIL, NODE),
        "cuMemAlloc_v2=2": (UNKNOWN, None),
    }
    for rc, (status, blame) in start.items():
        yield Fault(rc, "gpu.start", status, blame, cuda={"RC": rc})
    load = {
        "cuLaunchKernel=719@5": (FAIL, NODE),
        "cuLaunchKernel=700@40": (FAIL, NODE),
        "cuLaunchKernel=702@5": (UNKNOWN, None),
        "cuEventSynchronize=715@3": (FAIL, NODE),
        "cuEventSynchronize=600@9": (UNKNOWN, None),
        "cuMemcpyHtoDAsync_v2=1@2": (UNKNOWN, None),
        "cuMemcpyDtoHAsync_v2=719@20": (FAIL, NODE),
        "cuMemAlloc_v2=999@9": (UNKNOWN, None),
    }
    for rc, (status, blame) in load.items():
        yield Fault(f"{rc} under load", "gpu.sound", status, blame, cuda={"RC": rc})
    for kind in ("SEGV", "HANG"):
        for call in ("cuInit", "cuModuleLoadDataEx"):
            yield Fault(f"{call} {kind}", "gpu.start", UNKNOWN, cuda={kind: call})
        for call in ("cuLaunchKernel@9", "cuMemcpyDtoHAsync_v2@20"):
            yield Fault(f"{call} {kind}", "gpu.sound", UNKNOWN, cuda={kind: call})
    yield Fault("hidden", "gpu.start", FAIL, ACCOUNT, cuda={"RC": "cuInit=100"}, environ={"CUDA_VISIBLE_DEVICES": ""})
    yield Fault("no libcuda", "gpu.start", FAIL, IMAGE, environ={"PREFLIGHT_CUDA_LIB": "/nowhere/libcuda.so.1"})
    second = {"ONLY": "1", "STUCK": "0xabcde:0x10"}
    yield Fault("stuck bit on the second card", "gpu.others", FAIL, NODE, values={"COUNT": "2"}, cuda=second)
    yield Fault("stuck bit", "gpu.memory_errors", FAIL, NODE, cuda={"STUCK": "0xabcde:0x10"})
    yield Fault("bit stuck at 0", "gpu.memory_errors", FAIL, NODE, cuda={"STUCK": "0xabcde:!0x10"})
    yield Fault("passing flip", "gpu.memory_flips", WARN, NODE, cuda={"FLIP": "2:0x54321:0x400"})
    yield Fault("wrong result", "gpu.compute_errors", FAIL, NODE, cuda={"WRONG": "always"})
    yield Fault("one wrong result", "gpu.compute_errors", PASS, cuda={"WRONG": "once"})
    yield Fault("copy damages", "gpu.copy_errors", FAIL, NODE, cuda={"CORRUPT": "h2d"})
    yield Fault("one lane", "gpu.h2d", WARN, NODE, cuda={"H2D": "0.8e9", "D2H": "0.8e9"})
    yield Fault("slow back", "gpu.d2h", WARN, NODE, cuda={"D2H": "0.9e9"})
    yield Fault("spill", "gpu.resident_share", WARN, NODE, cuda={"RESIDENT": str(4 * MIB), "SPILLED": "8e9"})
    yield Fault("40 % compute", "gpu.compute", WARN, NODE, cuda={"COMPUTE": "0.4"})
    yield Fault("slow memory", "gpu.memory_speed", WARN, NODE, cuda={"MEMORY": "9e9"})
    yield Fault("60 % of memory", "gpu.memory_errors", PASS, cuda={"ALLOC_LIMIT": str(5 * MIB)})


FAULTS = (*nvml_faults(), *image_faults(), *cuda_faults())
# A profile whose own gaps would hide the fault's check is left out for it.
_GAPS = {"gpu.pcie": ("linux",), "gpu.cuda": ("linux", "wsl2-57", "wsl2-58", "wsl2-610", "wsl2-552")}


def cases() -> Iterator[tuple[Fault, str]]:
    for number, fault in enumerate(FAULTS):
        fitting = [name for name in PROFILES if name.startswith(_GAPS.get(fault.check, ("",)))]
        if LONG:
            yield from ((fault, name) for name in fitting)
        else:
            yield fault, fitting[number % len(fitting)]


CASES = tuple(cases())


def findings(
    machine: FakeGpu,
    tmp_path: Path,
    environ: Mapping[str, str],
    manifest: object,
    checks: tuple[Check, ...] = CHECKS,
) -> dict[str, Finding]:
    path = tmp_path / "image.json"
    if manifest is not None:
        path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    variables = machine.environ() | dict(environ)
    setup = Setup(
        environ=variables,
        policy=policy_from(variables, checks),
        data_dir=tmp_path,
        state_dir=tmp_path,
        expect_gpu=True,
        image_manifest=path,
        checks=checks,
    )
    examined = examine(setup, platform=Bare({}), clock=SystemClock(), rng=random.Random(1))
    assert examined.report.took_s < 20.5
    return {finding.name: finding for finding in examined.report.checks}


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 80
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("name", PROFILES)
def test_a_healthy_node_is_never_handed_back(name: str, tmp_path: Path) -> None:
    torch = {"cuda": {"toolkit": "11.7"}, "frameworks": {"torch": {"arch_list": list(TORCH)}}}
    seen = findings(profile(name).but(cuda=SMALL), tmp_path, {}, torch)
    assert [finding for finding in seen.values() if needs_attention(finding)] == []


@pytest.mark.parametrize(("fault", "name"), CASES, ids=[f"{fault.name} on {name}" for fault, name in CASES])
def test_fault(fault: Fault, name: str, tmp_path: Path) -> None:
    machine = profile(name).but(values=fault.values, faults=fault.nvml, cuda=SMALL | dict(fault.cuda))
    works = LONG or fault.also or fault.check in {check.name for check in CHECKS[len(READING) :]}
    seen = findings(machine, tmp_path, fault.environ, fault.manifest, CHECKS if works else READING)
    told = seen[fault.check]
    assert told.status is fault.status, told
    if fault.blame is not None:
        assert told.blame is fault.blame, told
    lost = {finding.name for finding in seen.values() if may_reject(finding) and finding.confirmed}
    assert lost == fault.rejecting
