"""The GPU at work on a fake card that really computes: what is healthy, and what every fault proves or does not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from preflight.checks import Broken, Check, Context, NotExpected, Reading, gpu_image, gpu_memory, gpu_others, gpu_work
from preflight.errors import Unmeasured
from preflight.gpu.kernels import burn_operations
from preflight.gpu.memtest import reserve_bytes
from preflight.gpu.repair import repaired
from preflight.model import Severity
from sync.clock import SystemClock
from tests.support.fakegpu import FakeGpu, profile

MIB = 1 << 20
ALL: dict[str, Check] = {check.name: check for check in (*gpu_work.CHECKS, *gpu_memory.CHECKS)}


def context(machine: FakeGpu, *, round_number: int = 0, **environ: str) -> Context:
    return Context(
        environ=machine.environ() | environ, clock=SystemClock(), rng=random.Random(0), round_number=round_number
    )


def card(**cuda: str) -> FakeGpu:
    return profile().but(cuda=cuda)


def outcome(name: str, where: Context) -> float | str:
    """The value, or what kind of end: "unknown", "skip", or the blame of a proof."""
    try:
        reading = ALL[name].measure(where)
    except Unmeasured:
        return "unknown"
    except NotExpected:
        return "skip"
    except Broken as broken:
        return broken.blame.value if broken.blame else "nobody"
    assert isinstance(reading, Reading)
    return reading.value if isinstance(reading.value, str) else float(reading.value)


def is_within(check: Check, value: float) -> bool:
    low, high = check.limit.at_least, check.limit.at_most
    return (low is None or value >= low) and (high is None or value <= high)


def rejecting(where: Context) -> list[str]:
    """Names of checks that would reject the node now: fail, blame node, severity reject."""
    names = []
    for name, check in ALL.items():
        end = outcome(name, where)
        broken = not is_within(check, end) if isinstance(end, float) else end == "node"
        if broken and check.limit.severity is Severity.REJECT:
            names.append(name)
    return names


def warning(where: Context) -> list[str]:
    names = []
    for name, check in ALL.items():
        end = outcome(name, where)
        if isinstance(end, float) and not is_within(check, end) and check.limit.severity is Severity.WARN:
            names.append(name)
    return names


def test_a_healthy_card_passes_everything() -> None:
    where = context(card())
    values = {name: outcome(name, where) for name in ALL}
    assert all(isinstance(value, float) and is_within(ALL[name], value) for name, value in values.items()), values
    assert values["gpu.h2d"] == pytest.approx(12e9, rel=0.001)
    assert values["gpu.compute"] == pytest.approx(0.9, abs=0.01)
    assert values["gpu.memory_tested"] >= 0.9  # type: ignore[operator]
    assert values["gpu.resident_share"] == 1.0
    assert values["gpu.link_share"] == pytest.approx(12e9 / (1.969e9 * 16), abs=0.01)


def test_launches_stay_short() -> None:
    for compute in ("0.9", "0.02"):
        reading = ALL["gpu.compute"].measure(context(card(COMPUTE=compute)))
        assert isinstance(reading, Reading)
        launch_s = reading.detail["launch_s"]
        assert isinstance(launch_s, float)
        assert launch_s <= 0.2 or compute == "0.02"


@pytest.mark.parametrize(
    "slow",
    [
        {"SLOWING": "0.05:0.01", "KHZ": "10000"},  # computing: after half a second at a fifth of the speed
        {"SLOWING": "0.5:0.05", "MEMORY": "40e6", "KHZ": "10000"},  # memory that was slow and gets slower
    ],
)
def test_launches_stay_short_on_a_card_that_throttles(slow: dict[str, str], tmp_path: Path) -> None:
    longest = tmp_path / "longest"
    where = context(card(**slow, LONGEST=str(longest)))
    for name in ("gpu.compute", "gpu.compute_errors", "gpu.memory_errors"):
        outcome(name, where)
    assert 0.02 < float(longest.read_text()) <= 0.2
    assert rejecting(where) == []


def test_a_stuck_bit_is_found_at_its_word_and_rejects() -> None:
    where = context(card(STUCK="0xabcde:0x10"))
    assert rejecting(where) == ["gpu.memory_errors"]
    reading = ALL["gpu.memory_errors"].measure(where)
    assert isinstance(reading, Reading)
    stuck = reading.detail["stuck"]
    assert isinstance(stuck, list)
    # 4096 bytes of the card lie before the memory under test (the words of the verdict)
    assert {entry["word"] for entry in stuck} == {0xABCDE - 1024}
    assert {entry["bits_stuck_at_1"] for entry in stuck} == {"0x00000010"}
    assert all(entry["again"] == 2 and entry["byte"] == 4 * (0xABCDE - 1024) for entry in stuck)


def test_a_bit_stuck_at_zero_is_found_too() -> None:
    assert rejecting(context(card(STUCK="0xabcde:!0x80000000"))) == ["gpu.memory_errors"]


@pytest.mark.parametrize("check_number", ["2", "19", "70"])
def test_a_passing_flip_warns_and_never_rejects(check_number: str) -> None:
    where = context(card(FLIP=f"{check_number}:0x54321:0x400"))
    assert rejecting(where) == []
    assert warning(where) == ["gpu.memory_flips"]


def test_a_narrow_link_warns() -> None:
    where = context(card(H2D="0.8e9", D2H="0.8e9"))
    assert warning(where) == ["gpu.h2d", "gpu.d2h", "gpu.link_share"]
    assert rejecting(where) == []


def test_one_slow_way_warns_for_that_way() -> None:
    assert warning(context(card(D2H="1e9"))) == ["gpu.d2h", "gpu.link_share"]


def test_a_riser_is_narrow_but_sound_for_its_width() -> None:
    machine = profile().but(values={"WIDTH": "1", "GEN": "3"}, cuda={"H2D": "0.8e9", "D2H": "0.8e9"})
    assert warning(context(machine)) == ["gpu.h2d", "gpu.d2h"]


def test_memory_that_spilled_to_the_host_does_not_count() -> None:
    where = context(card(RESIDENT=str(12 * MIB), SPILLED="8e9"))
    assert warning(where) == ["gpu.resident_share"]
    resident = outcome("gpu.memory_resident", where)
    assert isinstance(resident, float)
    assert 10 * MIB < resident <= 14 * MIB


def test_a_stuck_bit_in_the_hosts_part_is_not_the_cards() -> None:
    word = hex(20 * MIB // 4)
    assert rejecting(context(card(RESIDENT=str(12 * MIB), SPILLED="8e9", STUCK=f"{word}:0x1"))) == []


def test_a_slow_card_warns() -> None:
    assert warning(context(card(COMPUTE="0.4"))) == ["gpu.compute"]
    assert warning(context(card(MEMORY="20e9"))) == ["gpu.memory_speed"]


def test_wrong_results_reject_and_one_wrong_result_does_not() -> None:
    assert rejecting(context(card(WRONG="always"))) == ["gpu.compute_errors"]
    assert rejecting(context(card(WRONG="once"))) == []


@pytest.mark.parametrize("way", ["h2d", "d2h"])
def test_a_copy_that_damages_data_rejects(way: str) -> None:
    assert rejecting(context(card(CORRUPT=way))) == ["gpu.copy_errors"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_memory_that_cannot_all_be_taken_is_tested_as_far_as_it_goes(share: float) -> None:
    where = context(card(ALLOC_LIMIT=str(int(24 * MIB * share))))
    assert rejecting(where) == []
    tested = outcome("gpu.memory_tested", where)
    assert isinstance(tested, float)
    assert share - 0.12 <= tested <= share


def test_what_was_told_before_a_crash_stands() -> None:
    where = context(card(SEGV="cuMemcpyHtoDAsync_v2"))
    assert isinstance(outcome("gpu.compute", where), float)
    assert outcome("gpu.h2d", where) == "unknown"
    with pytest.raises(Unmeasured, match="SIGSEGV"):
        ALL["gpu.h2d"].measure(where)


def test_the_confirming_round_measures_longer() -> None:
    first = ALL["gpu.memory_tested"].measure(context(card()))
    second = ALL["gpu.memory_tested"].measure(context(card(), round_number=1))
    assert isinstance(first, Reading)
    assert isinstance(second, Reading)
    assert (first.detail["of_patterns"], second.detail["of_patterns"]) == (8, 36)


def test_a_stuck_bit_that_is_gone_in_the_second_round(tmp_path: Path) -> None:
    machine = card(STUCK="0xabcde:0x10", ONCE=str(tmp_path / "once"))
    assert rejecting(context(machine)) == ["gpu.memory_errors"]
    assert rejecting(context(machine, round_number=1)) == []


def test_error_804_is_repaired_and_told() -> None:
    where = context(
        profile().but(values={"NAME": "NVIDIA H20"}, cuda={"COMPAT": "1"}),
        LD_LIBRARY_PATH="/usr/local/cuda/compat:/lib",
    )
    assert isinstance(outcome("gpu.start", where), float)
    compat = next(check for check in gpu_image.CHECKS if check.name == "gpu.forward_compat")
    with pytest.raises(Broken, match="forward-compatibility"):
        compat.measure(where)


def test_forward_compatibility_on_a_card_that_supports_it_is_fine() -> None:
    machine = profile().but(values={"NAME": "NVIDIA H20"})
    where = context(machine, LD_LIBRARY_PATH="/usr/local/cuda/compat:/lib")
    compat = next(check for check in gpu_image.CHECKS if check.name == "gpu.forward_compat")
    assert compat.measure(where) == Reading("/usr/local/cuda/compat")


def test_the_notebook_starts_without_what_was_refused() -> None:
    environ = {"LD_LIBRARY_PATH": "/usr/local/cuda/compat:/lib", "A": "b"}
    found = {"checks": [{"name": "gpu.forward_compat", "status": "warn"}]}
    assert repaired(environ, found) == {"LD_LIBRARY_PATH": "/lib", "A": "b"}
    for report in (None, {}, {"checks": [{"name": "gpu.forward_compat", "status": "pass"}]}):
        assert repaired(environ, report) == environ


OTHERS = gpu_others.CHECKS[0]


@pytest.mark.parametrize(
    ("cuda", "broken"),
    [({}, 0.0), ({"STUCK": "0xabcde:0x10"}, 1.0), ({"WRONG": "always"}, 1.0), ({"RC": "cuLaunchKernel=719@5"}, 1.0)],
)
def test_a_second_gpu_must_be_sound_too(cuda: dict[str, str], broken: float) -> None:
    machine = profile().but(values={"COUNT": "3"}, cuda={"ONLY": "1", **cuda})
    where = context(machine)
    reading = OTHERS.measure(where)
    assert isinstance(reading, Reading)
    assert reading.value == broken
    assert rejecting(where) == []
    if broken:
        assert "GPU 1" in reading.advice


def test_a_second_gpu_that_crashes_is_unknown() -> None:
    machine = profile().but(values={"COUNT": "2"}, cuda={"ONLY": "1", "SEGV": "cuLaunchKernel@9"})
    with pytest.raises(Unmeasured, match="GPU 1"):
        OTHERS.measure(context(machine))


def test_one_gpu_has_no_others() -> None:
    with pytest.raises(NotExpected):
        OTHERS.measure(context(card()))


def test_no_gpu_and_none_expected() -> None:
    where = context(FakeGpu({"PREFLIGHT_NVML_LIB": "/nowhere", "PREFLIGHT_CUDA_LIB": "/nowhere"}))
    assert {outcome(name, where) for name in ALL} == {"skip"}


def test_reserve_leaves_nine_tenths_to_test() -> None:
    for free_gib in (1, 4, 6, 8, 12, 24, 80, 141):
        free = free_gib << 30
        assert 0.9 * free <= free - reserve_bytes(free) < free


def test_operations_of_a_burn() -> None:
    assert burn_operations(1024, 100) == 1024 * 100 * 8 * 2


def test_a_very_slow_link_still_gets_its_figure_in_time() -> None:
    where = context(card(H2D="2e6", D2H="2e6"))
    assert outcome("gpu.h2d", where) == pytest.approx(2e6, rel=0.01)
    reading = ALL["gpu.h2d"].measure(where)
    assert isinstance(reading, Reading)
    assert reading.detail["h2d"] == [2e6, 2e6]
