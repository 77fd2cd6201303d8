"""On a machine with a real GPU: prove the kernels, run every GPU check twice, print what was seen.

    python -m tests.gpu.inspect_card [--json FILE]      (from the root of the repository)

Needs Python >= 3.11 and nvidia-ml-py, nothing else. docs/gpu-runs.md holds what was seen so far. Exit code 1 when
the kernels compute anything else than the CPU does, or when a healthy card would be rejected.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import sys
import time
from typing import Any

from preflight.checks import Broken, Check, Context, NotExpected, Reading, gpu, gpu_image, gpu_memory, gpu_work
from preflight.errors import Unmeasured
from preflight.gpu.cuda import Driver
from preflight.gpu.kernels import Kernels
from preflight.gpu.reference import burn_words, pattern_word
from preflight.gpu.sample import take_sample
from preflight.gpu.worked import run_work
from preflight.image import Image
from sync.clock import SystemClock

CHECKS: tuple[Check, ...] = (*gpu.CHECKS, *gpu_image.CHECKS, *gpu_memory.CHECKS, *gpu_work.CHECKS)


def prove_kernels() -> list[str]:
    """What the card computes otherwise than the CPU; empty on a sound card."""
    driver = Driver(os.environ)
    device = driver.open_device(0)
    kernels = Kernels(driver, int(str(device["sm_count"])))
    wrong = []
    size = 1 << 16
    there, found = driver.allocate(size), driver.allocate(16)
    for kind, seed in [(0, 3), (1, 99), (2, 99), (3, 5), (4, 0), (5, 0), (6, 27)]:
        first = 1 << 20
        kernels.fill(there, size, first, kind, seed)
        if driver.words(there, size // 4) != [pattern_word(first + i, kind, seed) for i in range(size // 4)]:
            wrong.append(f"pattern {kind}")
        driver.zero(found, 4)
        kernels.check(there, size, first, kind, seed, found)
        if driver.words(found, 4) != [0, 0, 0, 0]:
            wrong.append(f"check of pattern {kind}")
    kernels.fill(there, size, 0, 0, 0)
    for word, value in ((4000, 4000 & ~0x20), (77, 77 | 0x100)):
        host = ctypes.c_uint(value)
        driver.to_device(there + 4 * word, ctypes.addressof(host), 4)
        driver.synchronize()
    driver.zero(found, 4)
    kernels.check(there, size, 0, 0, 0, found)
    if driver.words(found, 4) != [2, ~77 & 0xFFFFFFFF, 0x100, 0x20]:
        wrong.append(f"planted errors: {driver.words(found, 4)}")
    out = driver.allocate(4 * kernels.burn_threads)
    for iterations in (1, 64, 500):
        kernels.burn(out, iterations)
        if driver.words(out, kernels.burn_threads) != burn_words(iterations) * (kernels.burn_threads // 8):
            wrong.append(f"burn of {iterations}")
    return wrong


def run_checks(round_number: int) -> dict[str, dict[str, Any]]:
    """Every GPU check, as the runner would call it, without its deadlines."""
    context = Context(
        environ=dict(os.environ), clock=SystemClock(), rng=random.Random(0), expect_gpu=True, round_number=round_number
    )
    seen: dict[str, dict[str, Any]] = {}
    for check in CHECKS:
        began_s = time.perf_counter()
        try:
            reading = check.measure(context)
            assert isinstance(reading, Reading)
            seen[check.name] = {"value": reading.value, "unit": check.unit, "detail": dict(reading.detail)}
        except Unmeasured as unmeasured:
            seen[check.name] = {"unknown": unmeasured.why}
        except NotExpected as skipped:
            seen[check.name] = {"skip": skipped.why}
        except Broken as broken:
            seen[check.name] = {"broken": broken.why, "blame": str(broken.blame)}
        seen[check.name]["took_s"] = round(time.perf_counter() - began_s, 3)
    return seen


def main() -> int:
    """Prints a table; writes everything as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    began_s = time.perf_counter()
    rounds = [run_checks(0), run_checks(1)]
    took_s = time.perf_counter() - began_s
    work = run_work(os.environ, SystemClock(), image=Image())
    wrong = prove_kernels()
    for number, seen in enumerate(rounds):
        print(f"round {number}")
        for name, entry in seen.items():
            print(f"  {name:24} {json.dumps(entry, default=str)[:300]}")
    print("work", json.dumps(dict(work.told), default=str)[:3000], work.failures, work.ended_badly)
    print("sample", json.dumps(take_sample(os.environ, SystemClock())))
    print(f"both rounds took {took_s:.2f} s; kernels wrong: {wrong or 'none'}")
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump({"rounds": rounds, "work": dict(work.told), "wrong": wrong}, file, indent=1, default=str)
    broken = [name for seen in rounds for name, entry in seen.items() if "broken" in entry]
    return 1 if wrong or broken else 0


if __name__ == "__main__":
    sys.exit(main())
