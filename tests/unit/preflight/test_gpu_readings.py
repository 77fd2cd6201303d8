"""NVML readings through a real child process and the fake driver: every fault ends in a number or a reason."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from preflight.gpu.readings import LIMIT_S, device_nodes, read_snapshot
from preflight.gpu.watchdog import Ended, child_environ, run_child
from sync.clock import SystemClock
from tests.support.fakegpu import PROFILES, FakeGpu, profile

CLOCK = SystemClock()
GIB = 1 << 30


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_tells_what_decides(name: str) -> None:
    taken = read_snapshot(profile(name).environ(), CLOCK)
    values = PROFILES[name][0]
    assert (taken.count, taken.driver, taken.ended_badly) == (1, values["DRIVER"], "")
    number = int(values["CUDA"])
    assert taken.cuda == (number // 1000, number % 1000 // 10)
    device = taken.devices[0]
    assert device.name == values.get("NAME", "NVIDIA GeForce RTX 3060")
    assert device.capability == tuple(int(part) for part in values.get("CC", "8.6").split("."))
    assert device.memory_total_bytes == int(values.get("TOTAL", 12 * GIB))
    assert device.temperature_c == 45
    assert device.ecc_uncorrected is None  # every GeForce: absent, not zero and not a fault


def test_linux_profile_in_full() -> None:
    device = read_snapshot(profile().environ(), CLOCK).devices[0]
    assert (device.clock_sm_hz, device.clock_sm_max_hz) == (210_000_000, 2_100_000_000)
    assert (device.pcie_generation, device.pcie_width) == (4, 16)
    assert (device.power_w, device.power_limit_w, device.utilization_ratio) == (31.0, 170.0, 0.03)
    assert (device.throttle_bits, device.processes, device.lost) == (1, (), False)
    assert device.uuid is not None
    assert device.uuid.startswith("GPU-")


@pytest.mark.parametrize("code", [1, 2, 3, 4, 9, 13, 16, 999])
@pytest.mark.parametrize(
    "call",
    ["nvmlDeviceGetName", "nvmlDeviceGetTemperature", "nvmlDeviceGetMemoryInfo", "nvmlSystemGetDriverVersion"],
)
def test_one_call_that_fails_costs_one_reading(call: str, code: int) -> None:
    taken = read_snapshot(profile().but(faults={call: code}).environ(), CLOCK)
    assert taken.count == 1
    assert taken.ended_badly == ""
    device = taken.devices[0]
    read = {
        "nvmlDeviceGetName": device.name,
        "nvmlDeviceGetTemperature": device.temperature_c,
        "nvmlDeviceGetMemoryInfo": device.memory_total_bytes,
        "nvmlSystemGetDriverVersion": taken.driver,
    }
    assert [name for name, value in read.items() if value is None] == [call]
    assert any(f"answered {code}" in why for why in taken.absent.values())


@pytest.mark.parametrize("code", [1, 3, 15, 999])
def test_a_library_that_does_not_start_is_no_proof_of_absence(code: int) -> None:
    taken = read_snapshot(profile().but(faults={"nvmlInitWithFlags": code}).environ(), CLOCK)
    assert (taken.count, taken.init_error, taken.is_absent) == (None, code, False)
    assert f"nvmlInit answered {code}" in taken.why_absent("count")


def test_missing_library() -> None:
    taken = read_snapshot({"PATH": "/usr/bin", "PREFLIGHT_NVML_LIB": "/nowhere/libnvidia-ml.so.1"}, CLOCK)
    assert taken.library_missing
    assert taken.is_absent == (not device_nodes())
    assert "not visible" in taken.why_absent("driver")


def test_a_crash_leaves_all_other_readings() -> None:
    taken = read_snapshot(profile().but(faults={"nvmlDeviceGetTemperature": "segv"}).environ(), CLOCK)
    device = taken.devices[0]
    assert device.temperature_c is None
    assert (device.memory_total_bytes, device.pcie_width, device.name) == (12 * GIB, 16, "NVIDIA GeForce RTX 3060")
    assert "SIGSEGV" in taken.ended_badly
    assert "left out" in taken.why_absent("temperature", 0)


def test_a_hang_leaves_all_other_readings_and_comes_back_in_time() -> None:
    began = time.monotonic()
    taken = read_snapshot(profile().but(faults={"nvmlDeviceGetPowerUsage": "hang"}).environ(), CLOCK)
    assert time.monotonic() - began < LIMIT_S + 1
    device = taken.devices[0]
    assert (device.power_w, device.memory_free_bytes, device.pcie_width) == (None, 12_000_000_000, 16)
    assert "did not answer in power" in taken.ended_badly


def test_a_hang_in_init_is_tried_once() -> None:
    began = time.monotonic()
    taken = read_snapshot(profile().but(faults={"nvmlInitWithFlags": "hang"}).environ(), CLOCK)
    assert time.monotonic() - began < LIMIT_S + 1
    assert (taken.count, taken.is_absent) == (None, False)
    assert "did not answer in nvmlInit" in taken.why_absent("count")


def test_a_crash_that_passes_is_forgotten(tmp_path: Path) -> None:
    machine = profile().but(faults={"nvmlInitWithFlags": "segv"}, once=tmp_path / "once")
    taken = read_snapshot(machine.environ(), CLOCK)
    assert (taken.count, taken.ended_badly) == (1, "")


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"TOTAL": str(17179869184 * GIB), "FREE": "1"}, "memory"),  # seen on WSL2
        ({"FREE": str(13 * GIB)}, "memory"),  # more free than there is
        ({"TOTAL": "0", "FREE": "0"}, "memory"),
        ({"TEMP": "0"}, "temperature"),
        ({"TEMP": "4294967295"}, "temperature"),
        ({"CLOCK": "4000000000"}, "clock_sm"),
        ({"CC": "0.0"}, "capability"),
        ({"UTIL": "255"}, "utilization"),
        ({"GEN": "0", "WIDTH": "5"}, "pcie_width"),
        ({"NAME": ""}, "name"),
        ({"UUID": "\x01"}, "uuid"),
    ],
)
def test_readings_that_cannot_be_true_are_absent(values: dict[str, str], missing: str) -> None:
    taken = read_snapshot(profile().but(values=values).environ(), CLOCK)
    assert taken.count == 1
    assert "cannot be true" in taken.why_absent(missing, 0)


def test_impossible_versions_are_absent() -> None:
    taken = read_snapshot(profile().but(values={"DRIVER": "N/A", "CUDA": "0"}).environ(), CLOCK)
    assert (taken.driver, taken.cuda) == (None, None)


def test_two_gpus_one_lost() -> None:
    taken = read_snapshot(profile().but(values={"COUNT": "2", "LOST": "1"}).environ(), CLOCK)
    assert taken.count == 2
    assert [device.lost for device in taken.devices] == [False, True]
    assert taken.devices[1].name is None


def test_a_library_that_prints_does_not_spoil_the_story() -> None:
    taken = read_snapshot(profile().but(faults={"nvmlDeviceGetName": "noise"}).environ(), CLOCK)
    assert taken.devices[0].name == "NVIDIA GeForce RTX 3060"
    assert taken.ended_badly == ""


def test_the_child_imports_nothing_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "preflight", "pynvml", "resource"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user’s own file was imported')")
    monkeypatch.chdir(tmp_path)
    environ = profile().environ() | {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")}
    assert read_snapshot(environ, CLOCK).count == 1


def test_the_child_gets_no_credential() -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "s", "JUPYTERLAB_PW": "s", "AZURE_BLOB_SAS_TOKEN": "s", "PREFLIGHT_STORE": "s"}
    passed = child_environ({"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", **secret})
    assert passed == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "CUDA_CACHE_DISABLE": "1"}


def test_a_child_that_hangs_is_gone_afterwards() -> None:
    machine = profile().but(faults={"nvmlDeviceGetName": "hang"})
    outcome = run_child("readings", machine.environ(), CLOCK, limit_s=5, quiet_s=0.7)
    assert (outcome.ended, outcome.stage) == (Ended.HUNG, "name")
    pid = next(fact["pid"] for fact in outcome.facts if "pid" in fact)
    assert isinstance(pid, int)
    assert not os.path.exists(f"/proc/{pid}")


def test_an_unknown_job_is_a_crash_with_its_reason() -> None:
    outcome = run_child("nonsense", FakeGpu({}).environ(), CLOCK, limit_s=5, quiet_s=5)
    assert outcome.ended is Ended.CRASHED
    assert "no such job" in outcome.stderr
