"""Starts of a node under the faults of `fault_cases`, as the product sees them: three at a time, a process each.

Processes, because a start shares its interpreter with nobody: threads of several starts (and of their proxies) in one
process would wait for each other, which no node's kernel would count and no user would see. Three, because most of them
wait, and more would make two cores the fault that is seen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from preflight.assessment import assess
from preflight.examine import Setup, start_checks
from preflight.limits import policy_from
from preflight.model import Finding, Report
from preflight.platforms import detect
from sync.clock import SystemClock
from sync.stores.config import StoreConfig, file_config
from tests.support.fault_cases import DEMANDS, Case
from tests.support.faultproxy import FaultProxy
from tests.support.imds import fake_imds
from tests.support.moto import S3Server, moto

AT_ONCE = 3
# A disk test of 64 MiB a case would measure this machine; ICMP would leave it.
LEFT_OUT = ("disk.write", "reference.icmp", "reference.speedtest")


class SkewedClock(SystemClock):
    """A machine whose wall clock is wrong."""

    def __init__(self, skew_s: float) -> None:
        self._skew_s = skew_s

    def now(self) -> float:
        return super().now() + self._skew_s


@dataclass(frozen=True)
class Seen:
    """What the product made of a case."""

    report: Report
    reallocations: int
    restarts: int  # on the same node: costs nobody a node
    took_s: float

    def names(self, case: Case) -> bool:
        """Whether the right check is named with a right blame."""
        if not case.check:
            return True
        return any(
            one.name == case.check and (one.blame.value if one.blame else "") in case.blames
            for one in self.report.findings
        )


def run_all(cases: Sequence[Case], folder: Path) -> dict[str, Seen]:
    """Every case, by name."""
    with moto(folder / "moto") as server:
        server.creates_bucket("thesis")
        homes = [folder / f"n{number}" for number in range(len(cases))]
        fresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(AT_ONCE, mp_context=fresh, initializer=_quiet) as pool:
            results = list(pool.map(run, cases, [server] * len(cases), homes))
    return {case.name: result for case, result in zip(cases, results, strict=True)}


def _quiet() -> None:
    logging.getLogger().addHandler(logging.NullHandler())  # what is logged of each fault is the report's to say


def run(case: Case, server: S3Server, home: Path) -> Seen:
    """One container start under the fault."""
    home.mkdir(parents=True)
    (home / "file").write_text("")
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(server.ports[0]))
        imds = stack.enter_context(fake_imds())
        if case.network is not None:
            proxy.faults = case.network
        if case.imds is not None:
            imds.fault("POST", "/v1/reallocate", **case.imds)
        endpoint = case.endpoint.format(port=server.ports[0]) or proxy.url
        if case.gpu and not case.on_the_way:  # here the bucket only keeps the ledger
            stores: tuple[StoreConfig, ...] = (file_config(home / "bucket"),)
        else:
            stores = (server.config("thesis", f"user/{home.name}", endpoint=endpoint),)
        if case.slow_bucket_only:
            stores += (server.config("thesis", f"mirror/{home.name}"),)
        environ = {
            "PATH": "/usr/bin:/bin",
            "SALAD_MACHINE_ID": home.name,
            "SALAD_METADATA_URI": imds.url,
            "PREFLIGHT_EXPECT_GPU": "1" if case.gpu else "0",
            **DEMANDS,
            **case.environ,
            **(case.gpu.environ() if case.gpu else {}),
        }
        if case.first_process_only:
            environ["PREFLIGHT_CUDA_FAKE_ONCE"] = str(home / "once")
            environ["PREFLIGHT_NVML_FAKE_ONCE"] = str(home / "once-nvml")
        clock = SkewedClock(case.skew_s)
        checks = tuple(one for one in start_checks() if one.name not in LEFT_OUT and case.concerns(one.lane))
        setup = Setup(
            environ=environ, policy=policy_from(environ), data_dir=home / (case.data_dir or "data"),
            state_dir=home / "state", stores=stores, checks=checks, expect_gpu=case.gpu is not None,
        )  # fmt: skip
        started = time.monotonic()
        report = assess(setup, platform=detect(environ, clock), clock=clock, rng=random.Random(1))
        took_s = time.monotonic() - started
        return Seen(_plain(report), len(imds.reallocations), len(imds.posted("/v1/restart")), took_s)


def _plain(report: Report) -> Report:
    """Without the samples, which no other process needs."""

    def bare(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(dataclasses.replace(one, detail={}) for one in findings)

    return dataclasses.replace(report, checks=bare(report.checks), findings=bare(report.findings))


def is_long() -> bool:
    """Whether the whole product of faults, machines and times is asked for."""
    return os.environ.get("PREFLIGHT_LONG_TESTS") == "1"
