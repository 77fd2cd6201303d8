"""How good verdicts are: time with a (fake) GPU and with all hanging, false rejects, the fleet, the fault matrix."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench.node import verdict
from tests.bench.peers import Bucket, ours
from tests.bench.processes import BIN
from tests.bench.rows import Row, percentile
from tests.support.fakegpu import profile
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.fleets import WEATHERS, World, policy
from tests.support.links import shares

LIMITS = tuple(mbps * 125e3 for mbps in (5, 10, 20, 50, 100))
SEED = 20261122


def rows(work: Path, bucket: Bucket, *, quick: bool) -> Iterator[Row]:
    """What must hold of verdicts, as it is found: some three minutes on two quiet cores."""
    yield verdict(work, bucket, 5 if quick else 20)
    yield with_gpu(work, bucket, 5 if quick else 20)
    yield with_everything_hanging(work, bucket)
    yield from matrix()
    yield from false_verdicts(200 if quick else 1000)
    yield truth_table()
    yield from fleet(2 if quick else 8)


def _check(environ: Mapping[str, str]) -> tuple[float, float]:
    """Seconds to the verdict by its own clock and by the wall."""
    began = time.monotonic()
    done = subprocess.run([BIN / "preflight", "check", "--json"], env=environ, capture_output=True, check=False)
    return float(json.loads(done.stdout)["took_s"]), time.monotonic() - began


def with_gpu(work: Path, bucket: Bucket, count: int) -> Row:
    """A healthy machine with a card that the fake driver plays."""
    environ = {**ours(work / "gpu", bucket, "gpu"), **profile().environ(), "PREFLIGHT_EXPECT_GPU": "1"}
    environ["PATH"] = os.environ["PATH"]
    took = [_check(environ)[0] for _ in range(count)]
    p50, p95 = percentile(took, 0.5), percentile(took, 0.95)
    return Row(
        "time to verdict, healthy, fake GPU",
        "p50 <= 5 s, p95 <= 10 s",
        f"p50 {p50:.1f} s, p95 {p95:.1f} s",
        met=p50 <= 5 and p95 <= 10,
        note=f"{count} runs; the fake card computes on the CPU",
        figure="Time to verdict with a card, seconds",
        bars={"p50": p50, "p95": p95},
    )


def with_everything_hanging(work: Path, bucket: Bucket) -> Row:
    """The driver and the bucket never answer."""
    gpu = profile().but(faults={"nvmlInitWithFlags": "hang"}, cuda={"HANG": "cuInit"})
    with FaultProxy(int(bucket.endpoint.rsplit(":", 1)[1])) as proxy:
        proxy.faults = Faults(hang=True)
        environ = {**ours(work / "hang", bucket, "hang"), **gpu.environ(), "PREFLIGHT_EXPECT_GPU": "1"}
        environ |= {"AWS_ENDPOINT_URL": proxy.url, "PATH": os.environ["PATH"]}
        took, wall = _check(environ)
    return Row(
        "time to verdict, driver and bucket hang",
        "<= 20 s",
        f"{took:.1f} s",
        met=took <= 20,
        note=f"command {wall:.1f} s",
    )


def false_verdicts(nodes: int) -> list[Row]:
    """The throughput rule on simulated noisy lines."""
    seen = {ratio: shares(ratio, LIMITS, nodes, random.Random(SEED)) for ratio in (0.3, 0.7, 1.1, 1.5)}
    note = f"{nodes * len(LIMITS)} simulated lines each"
    return [
        Row(
            "wrongly rejected at 1.5 x the limit", "<= 0.1 %", f"{seen[1.5].rejected:.3%}",
            met=seen[1.5].rejected <= 0.001, note=note,
        ),
        Row(
            "wrongly rejected at 1.1 x the limit", "<= 1 %", f"{seen[1.1].rejected:.2%}",
            met=seen[1.1].rejected <= 0.01, note=note,
        ),
        Row(
            "rejected or flagged at 0.7 x the limit", ">= 95 %", f"{seen[0.7].rejected + seen[0.7].flagged:.1%}",
            met=seen[0.7].rejected + seen[0.7].flagged >= 0.95,
            note=f"{seen[0.7].rejected:.0%} rejected; at 0.3 x {seen[0.3].rejected:.0%}",
        ),
    ]  # fmt: skip


def truth_table() -> Row:
    """Drivers, toolkits, cards and architectures against what the images need: the tests' own table."""
    from tests.unit.preflight import test_image_fit as table

    count = len(table.DRIVER_ROWS) + len(table.JIT_ROWS) + 4 * len(table.ARCH_ROWS)
    wrong = ""
    try:
        table.test_driver_against_toolkit()
        table.test_ptx_against_driver()
        for driver in (None, "12.8", "12.10", "12.4"):
            table.test_capability_against_one_architecture(driver)
    except AssertionError as error:
        wrong = str(error).splitlines()[0] if str(error) else "a row is wrong"
    return Row(
        "image-fit truth table", ">= 500 rows, all right", wrong or f"{count} rows, all right",
        met=not wrong and count >= 500,
    )  # fmt: skip


def fleet(seeds: int) -> list[Row]:
    """100 replicas on 557 nodes for 96 hours."""
    logging.getLogger("preflight").setLevel(logging.CRITICAL)
    found = []
    for name in ("the bucket slow for 1 h at deploy", "a common fault from the start"):
        ours_now = [World(policy(), WEATHERS[name], seed).run().most_excluded for seed in range(seeds)]
        unprotected = World(None, WEATHERS[name], 0).run().most_excluded
        found.append(
            Row(
                f"nodes excluded at once: {name}", "<= 12", f"at most {max(ours_now)}", f"unprotected {unprotected}",
                f"{unprotected / max(max(ours_now), 1):.0f}x", max(ours_now) <= 12, f"100 replicas, {seeds} seeds",
            )
        )  # fmt: skip
    logging.getLogger("preflight").setLevel(logging.NOTSET)
    return found


def matrix() -> list[Row]:
    """The fault matrix of the tests."""
    import tempfile

    from tests.support.fault_cases import all_cases
    from tests.support.fault_matrix import run_all

    cases = all_cases(whole=False)
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        seen = run_all(cases, Path(folder))
    wrongful = sum(1 for case in cases if seen[case.name].reallocations and not case.node)
    named = [case for case in cases if case.check]
    right = sum(1 for case in named if seen[case.name].names(case)) / len(named)
    return [
        Row(
            "wrongful reallocations in the fault matrix",
            "0",
            str(wrongful),
            met=wrongful == 0,
            note=f"{len(cases)} faults",
        ),
        Row("right check and right blame", ">= 98 %", f"{right:.1%}", met=right >= 0.98, note=f"{len(named)} faults"),
    ]
