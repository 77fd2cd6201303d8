"""Whether the GPU computes what it should, as fast as its own attributes promise. In the child.

First a short burn whose every bit the CPU knows, then launches of about 100 ms (never over 200 ms: WSL2 kills a
kernel after two seconds, and the desktop of the machine's owner must not stutter).
"""

from __future__ import annotations

import statistics

from preflight.gpu.cuda import NO_TIME, Driver
from preflight.gpu.kernels import Kernels, burn_operations
from preflight.gpu.reference import BURN_CLASSES, burn_words
from preflight.gpu.stages import CallFailed, Story

PROOF_ITERATIONS = 64  # 4096 multiply-adds on the CPU: some milliseconds
LAUNCH_S = 0.1
_LONG_S = 0.13  # a launch of this length makes the next one shorter: a card that throttles stays below 0.2 s
_FIRST_ITERATIONS = 32
_MOST_ITERATIONS = 1 << 24


def measure_burn(driver: Driver, kernels: Kernels, story: Story, launches: int) -> None:
    """Tells `burn`: {flops: [operations/s …], flops_median, launch_s, wrong: [wrong results of each proof and
    launch]}. Three proofs are compared with the CPU, the launches with the proofs' rule that every eighth thread
    computes the same, and with each other."""
    story.call("burn", lambda: _measure(driver, kernels, story, launches))


def _measure(driver: Driver, kernels: Kernels, story: Story, launches: int) -> dict[str, object]:
    threads = kernels.burn_threads
    out = driver.allocate(4 * threads)
    begin, end = driver.event(), driver.event()

    def burn(iterations: int) -> tuple[float, list[int]]:
        begin.record()
        kernels.burn(out, iterations)
        end.record()
        took_s = end.seconds_since(begin)
        words = driver.words(out, threads)
        story.alive()
        return took_s, words

    right = burn_words(PROOF_ITERATIONS)
    proofs = [_wrong(burn(PROOF_ITERATIONS)[1], right) for _ in range(3)]
    iterations = _FIRST_ITERATIONS
    for _ in range(10):
        took_s = burn(iterations)[0]
        if took_s >= LAUNCH_S / 2 or iterations >= _MOST_ITERATIONS:
            break
        # At most eight times longer a step: the clock may still be rising, and a launch must stay short.
        iterations = min(_MOST_ITERATIONS, int(iterations * min(8.0, LAUNCH_S / max(took_s, 1e-5))))
    rounds: list[tuple[float, int]] = []
    wrong: list[int] = []
    known: dict[int, list[int]] = {}  # what the first launch of each length gave
    for _ in range(launches):
        took_s, words = burn(iterations)
        rounds.append((took_s, iterations))
        wrong.append(_wrong(words, known.setdefault(iterations, words[:BURN_CLASSES])))
        if took_s > _LONG_S:
            iterations = max(1, int(iterations * LAUNCH_S / took_s))
    speeds = [burn_operations(threads, count) / took_s for took_s, count in rounds if took_s > 0.0]
    driver.free(out)
    if not speeds:
        raise CallFailed("cuEventElapsedTime", NO_TIME, "the device's clock stands still")
    return {
        "flops": [round(speed) for speed in speeds],
        "flops_median": statistics.median(speeds),
        "iterations": iterations,
        "threads": threads,
        "launch_s": statistics.median(took_s for took_s, _ in rounds),
        "longest_launch_s": max(took_s for took_s, _ in rounds),
        "wrong_proofs": proofs,
        "wrong_launches": wrong,
    }


def _wrong(words: list[int], right: list[int]) -> int:
    """How many results differ from the eight right ones, repeated."""
    if words == right * (len(words) // BURN_CLASSES):
        return 0
    return sum(word != right[index % BURN_CLASSES] for index, word in enumerate(words))
