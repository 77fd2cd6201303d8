"""The node's side: time to verdict, time to JupyterLab, probes under load, the supervisor's idle price."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

from tests.bench.peers import Bucket, ours
from tests.bench.processes import BIN, clean_environ, rss_bytes
from tests.bench.rows import Row, percentile
from tests.support.cputime import cpu_s
from tests.support.node import Node, free_port
from tests.support.probing import Prober
from tests.support.wait import until


def rows(work: Path, bucket: Bucket, *, quick: bool) -> list[Row]:
    """Every row of this file."""
    return [start(work, bucket), *probes(work, bucket, quick=quick)]


def verdict(work: Path, bucket: Bucket, count: int) -> Row:
    """`preflight check` on a healthy machine without a GPU, by its own clock and by the wall."""
    environ = ours(work / "verdict", bucket, "verdict")
    Path(environ["PREFLIGHT_DATA_DIR"]).mkdir(exist_ok=True)
    took, wall = [], []
    for _ in range(count):
        began = time.monotonic()
        done = subprocess.run([BIN / "preflight", "check", "--json"], env=environ, capture_output=True, check=False)
        wall.append(time.monotonic() - began)
        took.append(float(json.loads(done.stdout)["took_s"]))
    p50, p95 = percentile(took, 0.5), percentile(took, 0.95)
    return Row(
        "time to verdict, healthy, no GPU",
        "p50 <= 5 s, p95 <= 10 s",
        f"p50 {p50:.1f} s, p95 {p95:.1f} s",
        met=p50 <= 5 and p95 <= 10,
        note=f"whole command p50 {percentile(wall, 0.5):.1f} s, {count} runs",
        figure="Time to verdict, seconds",
        bars={"p50": p50, "p95": p95},
    )


def start(work: Path, bucket: Bucket) -> Row:
    """`preflight up` to JupyterLab's first answer, beside a bare `jupyter lab`."""
    mine, bare = [], []
    for number in range(3):
        port = free_port()
        with tempfile.TemporaryDirectory() as home:
            began = time.monotonic()
            lab = subprocess.Popen(
                [BIN / "jupyter-lab", "--no-browser", f"--port={port}", "--allow-root", "--ip=127.0.0.1"],
                env=clean_environ(HOME=home),
                cwd=home,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until(lambda port=port: _answers(f"http://127.0.0.1:{port}/api"), 60)
            bare.append(time.monotonic() - began)
            lab.kill()
            lab.wait()
        environ = ours(work / f"start-{number}" / "data", bucket, f"start-{number}")
        node = Node(work / f"start-{number}", {k: v for k, v in environ.items() if k.startswith("AWS_")})
        began = time.monotonic()
        with node:
            until(lambda node=node: _answers(f"http://127.0.0.1:{node.port}/api"), 60, node.output)
            mine.append(time.monotonic() - began)
    ours_s, bare_s = percentile(mine, 0.5), percentile(bare, 0.5)
    return Row(
        "start to JupyterLab, empty bucket",
        "<= 12 s",
        f"{ours_s:.1f} s",
        f"bare jupyter lab: {bare_s:.1f} s",
        f"{ours_s / bare_s:.2f}x",
        ours_s <= 12,
    )


def probes(work: Path, bucket: Bucket, *, quick: bool) -> list[Row]:
    """`/livez` while eight processes burn and while 20,000 files appear, and what the supervisor costs when idle."""
    environ = ours(work / "probes" / "data", bucket, "probes")
    with Node(work / "probes", {k: v for k, v in environ.items() if k.startswith("AWS_")}) as node:
        node.wait_ready()
        node.wait_saved()
        assert node.process is not None
        pid, watch_s = node.process.pid, 10 if quick else 60
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(watch_s)
        share = (cpu_s(pid) - before) / (time.monotonic() - began)
        resident = rss_bytes(pid)
        burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(8)]
        for burner in burners:
            burner.start()
        busy_s = asked(node, 200 if quick else 1000)
        for burner in burners:
            burner.kill()
        writer = multiprocessing.Process(target=_burst, args=(node.folder, 5_000 if quick else 20_000), daemon=True)
        writer.start()
        burst_s = asked(node, 200 if quick else 1000, while_=lambda: writer.is_alive() or not _all_saved(node))
        writer.join()
        command = []
        for _ in range(10):
            began = time.monotonic()
            subprocess.run([BIN / "preflight", "probe", "live"], env=node.environ, check=True, capture_output=True)
            command.append(time.monotonic() - began)
    return [
        _livez("/livez with 8 busy processes", busy_s),
        _livez(f"/livez while {5_000 if quick else 20_000:,} files appear and are saved", burst_s),
        Row("supervisor idle: CPU", "<= 0.3 % of a core", f"{share:.2%}", met=share <= 0.003),
        Row("supervisor idle: memory", "<= 60 MB RSS", f"{resident / 1e6:.0f} MB", met=resident <= 60e6),
        Row(
            "preflight probe live", "< 0.15 s", f"{percentile(command, 0.5):.3f} s", met=percentile(command, 0.5) < 0.15
        ),
    ]


def asked(node: Node, count: int, *, while_: Callable[[], bool] = lambda: False) -> list[float]:
    """Seconds of wall time of each of `count` answers of `/livez`, and more while the condition holds."""
    with Prober(node.probe_port, every_s=0.02) as prober:
        until(lambda: len(prober.took) >= count and not while_(), 600)
    assert prober.bad == [], prober.bad
    return prober.took


def _livez(what: str, took_s: list[float]) -> Row:
    p50, p99 = percentile(took_s, 0.5), percentile(took_s, 0.99)
    return Row(
        what,
        "p99 <= 0.25 s",
        f"p50 {p50:.3f} s, p99 {p99:.3f} s",
        met=p99 <= 0.25,
        note=f"{len(took_s)} answers, the slowest {max(took_s):.3f} s",
        figure="Probe latency under load, seconds",
        bars={"p50": p50, "p99": p99},
    )


def _all_saved(node: Node) -> bool:
    status = node.sync()
    return status["state"] == "saved" and not status["pending_files"]


def _burst(folder: Path, count: int) -> None:
    for number in range(count):
        if number % 100 == 0:
            (folder / f"burst-{number}").mkdir()
        (folder / f"burst-{number - number % 100}" / f"{number}.txt").write_text("x")


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _burn() -> None:
    os.nice(0)
    while True:
        sum(range(100_000))
