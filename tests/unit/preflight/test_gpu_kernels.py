"""The kernels: the CPU's reference computes their exact bits, and the PTX in the package is the source's."""

from __future__ import annotations

import ctypes
import hashlib
import io
import random
import re
import struct
from fractions import Fraction

import pytest

from preflight.gpu.cuda import Driver
from preflight.gpu.kernels import PTX_PATH, Kernels
from preflight.gpu.memtest import MemoryTest, _Chunk, _Suspect
from preflight.gpu.promise import promised_flops, promised_link_bytes_per_s, promised_memory_bytes_per_s
from preflight.gpu.reference import burn_words, fused_multiply_add, pattern_word
from preflight.gpu.stages import Story
from tests.support.fakegpu import KERNELS, profile
from tests.support.ptx import Grid, Program


def single(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def nearest_single(exact: Fraction) -> float:
    """The single-precision number nearest to an exact value, ties to even: by comparing neighbours."""
    guess = single(float(exact))
    bits = struct.unpack("<i", struct.pack("<f", guess))[0]
    near = [struct.unpack("<f", struct.pack("<i", bits + step))[0] for step in (-1, 0, 1)]
    return min(near, key=lambda f: (abs(Fraction(f) - exact), struct.unpack("<i", struct.pack("<f", f))[0] & 1))


def test_fused_multiply_add_rounds_once() -> None:
    rng = random.Random(7)
    for _ in range(4000):
        x, y = single(rng.uniform(-2, 2)), single(rng.uniform(-2, 2))
        z = single(rng.choice([rng.uniform(-2, 2), -x * y, 1e-9, rng.uniform(-1, 1) * 2.0**-30]))
        if abs(x * y + z) > 1e-30:
            assert fused_multiply_add(x, y, z) == nearest_single(Fraction(x) * Fraction(y) + Fraction(z))


def test_a_case_where_rounding_twice_is_wrong() -> None:
    x = single(1.0 + 2.0**-12)
    z = single(2.0**-54)
    exact = Fraction(x) * Fraction(x) + Fraction(z)  # just above a tie of single precision
    assert fused_multiply_add(x, x, z) == nearest_single(exact)
    assert single(x * x + z) != nearest_single(exact)


@pytest.fixture(scope="module")
def driver() -> Driver:
    import os

    for name, value in profile().environ().items():  # the fake reads its own process's environment
        if name.startswith("PREFLIGHT_CUDA"):
            os.environ.setdefault(name, value)
    opened = Driver(profile().environ())
    opened.open_device(0)
    return opened


def test_the_kernels_agree_with_the_reference(driver: Driver) -> None:
    kernels = Kernels(driver, 1)
    size = 1 << 16
    there = driver.allocate(size)
    for kind, seed in [(0, 3), (1, 99), (2, 99), (3, 5), (4, 0), (5, 0), (6, 27)]:
        kernels.fill(there, size, 1000, kind, seed)
        assert driver.words(there, size // 4) == [pattern_word(1000 + i, kind, seed) for i in range(size // 4)]
    for iterations in (1, 64, 200):
        kernels.burn(there, iterations)
        assert driver.words(there, 8) == burn_words(iterations)


def test_a_check_tells_the_first_wrong_word_and_its_bits(driver: Driver) -> None:
    kernels = Kernels(driver, 1)
    there, found = driver.allocate(1 << 16), driver.allocate(16)
    kernels.fill(there, 1 << 16, 0, 0, 0)
    ctypes.c_uint.from_address(there + 4 * 77).value = 77 | 0x100
    ctypes.c_uint.from_address(there + 4 * 4000).value = 4000 & ~0x20
    driver.zero(found, 4)
    kernels.check(there, 1 << 16, 0, 0, 0, found)
    wrong, first, high, low = driver.words(found, 4)
    assert (wrong, ~first & 0xFFFFFFFF, high, low) == (2, 77, 0x100, 0x20)


@pytest.mark.parametrize("before", [0, (1 << 32) - 64, 3 << 32])
def test_a_wrong_word_is_named_on_cards_of_any_size(driver: Driver, before: int) -> None:
    kernels = Kernels(driver, 1)
    story = Story(io.StringIO())
    test = MemoryTest(driver, kernels, story, 1.0, thorough=False)
    chunk = _Chunk(driver.allocate(1 << 16), 1 << 16, before, speed=1e12)
    kernels.fill(chunk.address, chunk.size_bytes, chunk.first_word, 1, 7)
    ctypes.c_uint.from_address(chunk.address + 4 * 1000).value ^= 0x100
    suspect = _Suspect(chunk, 1, 7)
    test._look(suspect)
    told = test._describe(suspect)
    assert (told["word"], told["address"]) == (before + 1000, chunk.address + 4000)
    assert told["byte"] == 4 * (before + 1000)
    assert {told["bits_stuck_at_1"], told["bits_stuck_at_0"]} == {"0x00000100", "0x00000000"}


def test_the_ptx_is_made_of_the_source() -> None:
    head = PTX_PATH.read_text().splitlines()[0]
    digest = hashlib.sha256((KERNELS / "kernels.cu").read_bytes()).hexdigest()
    assert head.endswith(digest), "run preflight/gpu/make_ptx.sh"


def test_the_ptx_asks_for_nothing_new() -> None:
    text = PTX_PATH.read_text()
    assert re.findall(r"^\.(?:version|target) .*", text, re.M) == [".version 6.0", ".target sm_50"]
    assert text.count(".visible .entry") == 3
    assert set(re.findall(r"\.entry (\w+)", text)) == {"preflight_fill", "preflight_check", "preflight_burn"}


@pytest.mark.parametrize(
    ("capability", "sms", "clock_khz", "tflops"),
    [
        ((8, 6), 28, 1_777_000, 12.74),
        ((8, 9), 128, 2_520_000, 82.6),
        ((7, 5), 46, 1_710_000, 10.07),
        ((12, 0), 170, 2_407_000, 104.8),
        ((9, 0), 132, 1_980_000, 66.9),
        ((8, 0), 108, 1_410_000, 19.49),
    ],
)
def test_promises_match_the_data_sheets(capability: tuple[int, int], sms: int, clock_khz: int, tflops: float) -> None:
    device = {
        "capability_major": capability[0],
        "capability_minor": capability[1],
        "sm_count": sms,
        "clock_khz": clock_khz,
    }
    assert promised_flops(device) == pytest.approx(tflops * 1e12, rel=0.002)


def test_other_promises() -> None:
    assert promised_memory_bytes_per_s({"memory_clock_khz": 7501000, "memory_bus_bits": 192}) == pytest.approx(
        360e9, rel=0.001
    )
    assert promised_link_bytes_per_s({"generation": 4, "width": 16}) == pytest.approx(31.5e9, rel=0.001)
    assert promised_flops({"sm_count": 0}) is None
    assert promised_memory_bytes_per_s({}) is None
    assert promised_link_bytes_per_s({"generation": 9, "width": 16}) is None


PROGRAM = Program(PTX_PATH.read_text())


@pytest.mark.parametrize("kind", range(7))
def test_the_ptx_fills_and_checks(kind: int) -> None:
    quads, first, seed = 37, 1_000_003, 0x9E3779B9
    memory = bytearray(16 * quads + 64)
    found = 16 * quads
    PROGRAM.run("preflight_fill", Grid(memory, (0, quads, first, kind, seed), blocks=2, threads=5))
    words = struct.unpack(f"<{4 * quads}I", memory[: 16 * quads])
    assert list(words) == [pattern_word(first + i, kind, seed) for i in range(4 * quads)]
    PROGRAM.run("preflight_check", Grid(memory, (0, quads, first, kind, seed, found), blocks=2, threads=5))
    assert bytes(memory[found:]) == bytes(64)


def test_the_ptx_tells_what_is_wrong() -> None:
    quads, found = 16, 256
    memory = bytearray(256 + 64)
    PROGRAM.run("preflight_fill", Grid(memory, (0, quads, 0, 0, 0), threads=4))
    for index, value in ((9, 9 | 0x100), (50, 50 & ~0x20)):
        memory[4 * index : 4 * index + 4] = value.to_bytes(4, "little")
    PROGRAM.run("preflight_check", Grid(memory, (0, quads, 0, 0, 0, found), threads=4))
    wrong, first, high, low = struct.unpack("<4I", memory[found : found + 16])
    assert (wrong, ~first & 0xFFFFFFFF, high, low) == (2, 9, 0x100, 0x20)


@pytest.mark.parametrize("iterations", [0, 1, 3, 4, 5, 33])
def test_the_ptx_burns_the_known_bits(iterations: int) -> None:
    memory = bytearray(4 * 21)
    PROGRAM.run("preflight_burn", Grid(memory, (0, 21, iterations), blocks=2, threads=3))
    words = struct.unpack("<21I", memory)
    assert list(words) == (burn_words(iterations) * 3)[:21]
