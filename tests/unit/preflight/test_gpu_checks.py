"""The GPU checks as the runner calls them: a reading, a proof of fault with its blame, a skip or an unknown."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from preflight.checks import Broken, Check, Context, NotExpected, Reading
from preflight.checks import gpu as gpu_checks
from preflight.checks import gpu_image as image_checks
from preflight.errors import Unmeasured
from preflight.model import Blame
from sync.clock import SystemClock
from tests.support.fakegpu import FakeGpu, profile

ALL: dict[str, Check] = {check.name: check for check in (*gpu_checks.CHECKS, *image_checks.CHECKS)}
NOWHERE = FakeGpu({"PREFLIGHT_NVML_LIB": "/nowhere/libnvidia-ml.so.1"})
TORCH = {
    "schema": 1,
    "cuda": {"toolkit": "12.8", "jit_users": ["triton"]},
    "frameworks": {"torch": {"version": "2.10.0", "arch_list": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120"]}},
    "needs": {"gpu_memory_bytes": 4 << 30},
}


def context(machine: FakeGpu, tmp_path: Path, manifest: object = None, **environ: str) -> Context:
    path = tmp_path / "image.json"
    if manifest is not None:
        path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return Context(environ=machine.environ() | environ, image_manifest=path, clock=SystemClock(), rng=random.Random(0))


def measure(name: str, where: Context) -> Reading:
    reading = ALL[name].measure(where)
    assert isinstance(reading, Reading)
    return reading


def test_nobody_expects_a_gpu_and_there_is_none(tmp_path: Path) -> None:
    where = context(NOWHERE, tmp_path)
    for check in ALL.values():
        with pytest.raises(NotExpected):
            check.measure(where)


def test_switched_off_starts_no_child(tmp_path: Path) -> None:
    where = context(profile(), tmp_path, PREFLIGHT_EXPECT_GPU="0")
    for check in ALL.values():
        with pytest.raises(NotExpected):
            check.measure(where)


@pytest.mark.parametrize("told", ["1", "yes", "true"])
def test_expected_and_absent_counts_zero_and_the_rest_is_unknown(told: str, tmp_path: Path) -> None:
    where = context(NOWHERE, tmp_path, PREFLIGHT_EXPECT_GPU=told)
    assert measure("gpu.count", where).value == 0.0
    with pytest.raises(Unmeasured):
        measure("gpu.driver", where)


def test_all_checks_cost_one_child(tmp_path: Path) -> None:
    machine = profile().but(faults={"nvmlInitWithFlags": 999}, cuda={"RC": "cuInit=999"}, once=tmp_path / "once")
    where = context(machine, tmp_path)
    for check in ALL.values():  # a second child would find a healthy driver
        with pytest.raises((Unmeasured, NotExpected)):
            check.measure(where) if check.name != "gpu.forward_compat" else _raise_unmeasured()
    assert measure("gpu.count", context(machine, tmp_path)).value == 1.0


def _raise_unmeasured() -> None:
    raise Unmeasured("needs no driver")


def test_healthy_machine_and_image(tmp_path: Path) -> None:
    where = context(profile(), tmp_path, TORCH)
    values = {name: measure(name, where).value for name in ALL}
    assert values["gpu.count"] == 1.0
    assert (values["gpu.driver"], values["gpu.cuda"], values["gpu.compute_capability"]) == ("570.86.15", "12.8", "8.6")
    assert (values["gpu.throttle"], values["gpu.temperature"], values["gpu.pcie"]) == (0.0, 45.0, 16.0)
    assert values["gpu.memory_total"] == float(12 << 30)
    assert values["gpu.memory_held"] == pytest.approx(0.0687, abs=0.001)


@pytest.mark.parametrize(("bits", "bad"), [("0", 0), ("0x1", 0), ("0x5", 0), ("0x25", 1), ("0xe9", 4), ("0x104", 0)])
def test_throttle_bits_are_masked(bits: str, bad: int, tmp_path: Path) -> None:
    assert measure("gpu.throttle", context(profile().but(values={"THROTTLE": bits}), tmp_path)).value == bad


def test_a_lost_gpu_does_not_count(tmp_path: Path) -> None:
    where = context(profile().but(values={"LOST": "0"}), tmp_path)
    reading = measure("gpu.count", where)
    assert reading.value == 0.0
    assert "fell off" in str(reading.detail["why"])
    with pytest.raises(Unmeasured):
        measure("gpu.memory_free", where)


def test_fewer_gpus_than_expected(tmp_path: Path) -> None:
    machine = profile().but(values={"COUNT": "2"})
    assert measure("gpu.count", context(machine, tmp_path, PREFLIGHT_EXPECT_GPU="2")).value == 2.0
    with pytest.raises(Broken, match="2 of 4") as broken:
        measure("gpu.count", context(machine, tmp_path, PREFLIGHT_EXPECT_GPU="4"))
    assert broken.value.blame is Blame.NODE


@pytest.mark.parametrize(
    ("name", "profile_name", "manifest", "blame"),
    [
        ("gpu.cuda", "wsl2-516", TORCH, Blame.NODE),
        ("gpu.cuda", "linux-570", {"cuda": {"toolkit": "13.0"}}, Blame.NODE),
        ("gpu.ptx_jit", "wsl2-552", TORCH, Blame.NODE),
        ("gpu.compute_capability", "linux-580-5090", {"frameworks": {"torch": {"arch_list": ["sm_90"]}}}, Blame.IMAGE),
        ("gpu.native_code", "linux-580-5090", {"frameworks": {"torch": {"arch_list": ["compute_90"]}}}, Blame.IMAGE),
        ("gpu.image_memory", "linux-570", {"needs": {"gpu_memory_bytes": 24 << 30}}, Blame.ACCOUNT),
    ],
)
def test_unmet_needs_name_who_must_act(
    name: str, profile_name: str, manifest: object, blame: Blame, tmp_path: Path
) -> None:
    with pytest.raises(Broken) as broken:
        measure(name, context(profile(profile_name), tmp_path, manifest))
    assert broken.value.blame is blame
    assert broken.value.advice


def test_forward_compat_folder_is_found(tmp_path: Path) -> None:
    where = context(profile(), tmp_path, LD_LIBRARY_PATH="/opt/lib:/usr/local/cuda-12.8/compat")
    with pytest.raises(Broken, match="forward-compatibility") as broken:
        measure("gpu.forward_compat", where)
    assert broken.value.blame is Blame.IMAGE


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"cuda": {"toolkit": 12.8}}', '{"cuda": []}', '{"frameworks": {"t": 1}}']
)
def test_a_manifest_that_cannot_be_understood_is_unknown(content: str, tmp_path: Path) -> None:
    where = context(profile(), tmp_path, content)
    with pytest.raises(Unmeasured, match="manifest"):
        measure("gpu.cuda", where)
    assert measure("gpu.driver", where).value == "570.86.15"
