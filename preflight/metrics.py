"""What Prometheus scrapes: the board and sync's status, in base units. A reading that is not there has no series."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client import exposition as text_format
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as open_format

from preflight.board import Board, Condition, Facts, Stage
from preflight.model import Status, Verdict
from preflight.probes import release
from preflight.supervisor import Phase
from sync.status import STALE_AFTER_S, State
from sync.status import Status as SyncStatus

OPENMETRICS = "application/openmetrics-text"
# Checks whose reading has a name of its own, as dashboards know it.
NAMED = {
    "gpu.memory_free": ("preflight_gpu_memory_free_bytes", "GPU memory that is free", {}),
    "gpu.memory_total": ("preflight_gpu_memory_bytes", "GPU memory", {}),
    "gpu.temperature": ("preflight_gpu_temperature_celsius", "GPU temperature", {}),
    "gpu.clock": ("preflight_gpu_clock_hertz", "GPU core clock", {}),
    "gpu.throttle": ("preflight_gpu_throttle_reasons", "reasons for which the GPU runs slower than it could", {}),
    "bucket.upload": (
        "preflight_bucket_throughput_bytes_per_second",
        "to and from the bucket",
        {"direction": "upload"},
    ),
    "bucket.download": (
        "preflight_bucket_throughput_bytes_per_second",
        "to and from the bucket",
        {"direction": "download"},
    ),
    "bucket.latency": ("preflight_bucket_rtt_seconds", "round trip to the bucket", {}),
    "host.clock": ("preflight_clock_skew_seconds", "our clock against the bucket's", {}),
    "disk.free": ("preflight_disk_free_bytes", "disk space left", {}),
    "host.memory_free": ("preflight_memory_free_bytes", "memory left to this container", {}),
}
NODE_INFO = {
    "gpu.name": "gpu",
    "gpu.driver": "driver",
    "gpu.cuda": "cuda",
    "gpu.compute_capability": "compute_capability",
}


def exposition(board: Board) -> Callable[[str], tuple[str, bytes]]:
    """A function from an Accept header to (content type, body): OpenMetrics when asked for, else Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything(board))

    def render(accept: str) -> tuple[str, bytes]:
        if OPENMETRICS in accept:
            body: bytes = open_format.generate_latest(registry)  # type: ignore[no-untyped-call]
            return open_format.CONTENT_TYPE_LATEST, body
        return "text/plain; version=0.0.4; charset=utf-8", text_format.generate_latest(registry)

    return render


class _Everything:
    """A collector that reads the board when it is scraped."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterable[Metric]:
        facts = self._board.facts
        yield from node(self._board, facts)
        yield from checks(facts)
        yield from budget(facts)
        yield from children(facts)
        yield from monitor(facts)
        yield from sync(self._board, facts)

    def describe(self) -> Iterable[Metric]:
        return ()


def node(board: Board, facts: Facts) -> Iterator[Metric]:
    """Who we are and how we are."""
    yield InfoMetricFamily("preflight_build", "this software", value={"version": release()})
    readings = {str(one.get("name")): one.get("observed") for one in (facts.report or {}).get("checks", ())}
    labels = {label: str(readings[name]) for name, label in NODE_INFO.items() if readings.get(name) is not None}
    yield InfoMetricFamily(
        "preflight_node", "this node", value={"machine": facts.machine, "platform": facts.platform, **labels}
    )
    yield _states("preflight_condition", "the node in one word", Condition, board.condition()[0])
    yield _states("preflight_stage", "how far the start has come", Stage, facts.stage)
    verdict = (facts.report or {}).get("verdict")
    if verdict:
        yield _states("preflight_verdict", "of the start-up checks", Verdict, verdict)
    probes = GaugeMetricFamily("preflight_probe_ok", "1 when this probe answers 200", labels=["probe"])
    for probe in ("startupz", "livez", "readyz"):
        probes.add_metric([probe], float(board.answer(probe).ok))
    yield probes
    yield _gauge("preflight_uptime_seconds", "since this supervisor started", board.clock.monotonic() - facts.started_s)
    if facts.opened_after_s is not None:
        yield _gauge("preflight_start_duration_seconds", "from start to the first answer", facts.opened_after_s)
    times = os.times()
    yield CounterMetricFamily(
        "preflight_supervisor_cpu_seconds", "of the supervisor itself", value=times.user + times.system
    )
    yield _gauge("preflight_supervisor_resident_bytes", "memory of the supervisor itself", _resident_bytes())


def checks(facts: Facts) -> Iterator[Metric]:
    """The start-up checks: status, duration, reading, and what was done about the verdict."""
    found = list((facts.report or {}).get("checks", ())) or list(facts.findings)
    status = GaugeMetricFamily("preflight_check_status", "1 for the status of each check", labels=["check", "status"])
    took = GaugeMetricFamily("preflight_check_duration_seconds", "of each check", labels=["check"])
    for one in found:
        for word in Status:
            status.add_metric([str(one["name"]), word.value], float(one.get("status") == word.value))
        took.add_metric([str(one["name"])], float(one.get("took_s") or 0.0))
    yield status
    yield took
    if found:
        latest = {str(one["name"]): one.get("status") for one in (*found, *facts.monitor.get("readings", ()))}
        has_gpu = latest.get("gpu.count") == "pass"
        yield _gauge("preflight_gpu_up", "1 when a GPU can be used; always there", float(has_gpu))
    yield from named_readings({**_readings(found), **_readings(facts.monitor.get("readings", ()))})
    action = (facts.report or {}).get("action") or {}
    done = CounterMetricFamily("preflight_reallocations", "requests for another node", labels=["reason", "result"])
    if action.get("kind") == "reallocate":
        done.add_metric([str((facts.report or {}).get("reject_for", "")), "accepted"], 1.0)
    for one in facts.monitor.get("actions", ()):
        if one.get("kind") == "reallocate":
            done.add_metric([str(one.get("reason", "")), "accepted" if one.get("done") else "refused"], 1.0)
    yield done


def budget(facts: Facts) -> Iterator[Metric]:
    """What the fleet's ledger said. It is only asked when a check would reject the node; else there is no series."""
    report = facts.report or {}
    fleet = report.get("fleet") or {}
    asked = any(one.get("severity") == "reject" and one.get("status") == "fail" for one in report.get("checks", ()))
    if not asked or not fleet.get("readable"):
        return
    left = max(0.0, float(fleet.get("tokens", 0)) - float(fleet.get("tokens_used", 0)))
    yield _gauge("preflight_budget_tokens_remaining", "reallocations that the group may still ask for", left)
    breaker = GaugeMetricFamily(
        "preflight_breaker_open", "1: so many nodes fail it that it is no node's fault", labels=["check"]
    )
    for name in fleet.get("demoted", ()):
        breaker.add_metric([str(name)], 1.0)
    yield breaker


def named_readings(readings: Mapping[str, float]) -> Iterator[Metric]:
    """Readings under the names that dashboards know."""
    families: dict[str, GaugeMetricFamily] = {}
    for name, value in readings.items():
        if name in NAMED:
            metric, help_text, labels = NAMED[name]
            family = families.setdefault(metric, GaugeMetricFamily(metric, help_text, labels=list(labels)))
            family.add_metric(list(labels.values()), value)
    yield from families.values()


def children(facts: Facts) -> Iterator[Metric]:
    """Our services."""
    up = GaugeMetricFamily("preflight_service_up", "1 while it runs", labels=["service"])
    restarts = CounterMetricFamily("preflight_service_restarts", "since the start", labels=["service"])
    loops = GaugeMetricFamily("preflight_service_deaths_in_a_row", "5 is a crash loop", labels=["service"])
    if facts.view is not None:
        for service, child in zip(facts.view.services, facts.view.children, strict=True):
            up.add_metric([service.name], float(child.phase is Phase.RUNNING))
            restarts.add_metric([service.name], float(child.restarts))
            loops.add_metric([service.name], float(child.deaths))
    yield up
    yield restarts
    yield loops


def monitor(facts: Facts) -> Iterator[Metric]:
    """What the monitor reads, compares with and found; the user's own metrics."""
    reading = GaugeMetricFamily(
        "preflight_monitor_reading", "last reading, in the unit given", labels=["check", "unit"]
    )
    normal = GaugeMetricFamily("preflight_monitor_baseline", "this node's own normal", labels=["check", "unit"])
    for one in facts.monitor.get("readings", ()):
        name, unit = str(one.get("name")), str(one.get("unit", ""))
        if isinstance(one.get("observed"), int | float):
            reading.add_metric([name, unit], float(one["observed"]))
        if one.get("baseline") is not None:
            normal.add_metric([name, unit], float(one["baseline"]))
    yield reading
    yield normal
    active = GaugeMetricFamily("preflight_finding_active", "1 while a finding stands", labels=["check"])
    for one in facts.monitor.get("findings", ()):
        active.add_metric([str(one.get("name"))], 1.0)
    yield active
    own = GaugeMetricFamily("preflight_app_metric", "last value that the user's code reported", labels=["name"])
    for name, value in facts.monitor.get("app", {}).items():
        own.add_metric([str(name)], float(value))
    yield own


def sync(board: Board, facts: Facts) -> Iterator[Metric]:
    """How well the folder is saved."""
    status = board.sync()
    age_s = board.clock.now() - status.updated_at if status is not None else None
    fresh = age_s is not None and age_s <= STALE_AFTER_S
    yield _gauge("sync_up", "1 while sync reports; 0 makes every other figure old", float(fresh))
    if status is None or age_s is None:
        return
    yield _gauge("sync_status_age_seconds", "since sync last reported", max(0.0, age_s))
    yield _states("sync_state", "sync in one word", State, status.state)
    yield from _amounts(status, max(0.0, age_s))
    ends_at = status.capability.get("credentials_expire_at")
    if isinstance(ends_at, int | float):
        yield _gauge("preflight_credentials_expire_timestamp_seconds", "when the bucket's credentials end", ends_at)
    requests = CounterMetricFamily("sync_requests", "sent to the bucket", labels=["verb"])
    for verb, count in status.requests.items():
        requests.add_metric([verb], float(count))
    yield requests
    costs = CounterMetricFamily("sync_cost_estimate_usd", "at the provider's list prices", labels=["verb"])
    for verb, cost in status.cost_usd.items():
        costs.add_metric([verb], cost)
    yield costs
    yield CounterMetricFamily("sync_sent_bytes", "to the bucket", value=float(status.bytes_sent))
    yield CounterMetricFamily("sync_received_bytes", "from the bucket", value=float(status.bytes_received))
    mirrors = GaugeMetricFamily("sync_mirror_saved", "1 while this mirror is complete", labels=["store"])
    for mirror in status.mirrors:
        mirrors.add_metric([str(mirror.get("store", ""))], float(mirror.get("state") == "saved"))
    yield mirrors


def _amounts(status: SyncStatus, age_s: float) -> Iterator[Metric]:
    # What waits goes on waiting while sync is silent.
    lag_s = status.oldest_pending_s + age_s if status.pending_files else 0.0
    yield _gauge("sync_lag_seconds", "age of the oldest change that is not saved", lag_s)
    yield _gauge("sync_pending_files", "not saved yet", float(status.pending_files))
    yield _gauge("sync_pending_bytes", "not saved yet", float(status.pending_bytes))
    yield _gauge("sync_files", "in the folder", float(status.files))
    yield _gauge("sync_size_bytes", "of the folder", float(status.bytes))
    yield _gauge("sync_held_files", "deletions that a guard holds back", float(status.held_count))
    yield _gauge("sync_conflicts", "where both versions were kept", float(len(status.conflicts)))
    yield _gauge("sync_problems", "files that cannot be saved", float(status.problems_count))
    yield _gauge("sync_epoch", "of the lease", float(status.epoch))
    yield _gauge("sync_restored", "1 once the folder was restored completely", float(status.restored))
    yield _gauge("sync_restore_files", "restored so far", float(status.restore.files_done))
    yield _gauge("sync_restore_bytes", "restored so far", float(status.restore.bytes_done))
    if status.last_durable_at is not None:
        yield _gauge("sync_last_durable_timestamp_seconds", "when a change was last saved", status.last_durable_at)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _states(name: str, help_text: str, words: type[enum.StrEnum], now: str) -> Metric:
    """One series a word, 1 for the present one: an absent series would be ambiguous."""
    label = name.rsplit("_", 1)[-1]
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for word in words:
        family.add_metric([word.value], float(word.value == str(now)))
    return family


def _readings(found: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    seen = ((str(one.get("name")), one.get("observed")) for one in found)
    return {name: float(value) for name, value in seen if isinstance(value, int | float)}


def _resident_bytes() -> float:
    with open("/proc/self/statm") as file:
        return float(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
