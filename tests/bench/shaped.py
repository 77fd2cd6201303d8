"""The same work over the lines that nodes really have: near and far, a slow home uplink and a fast one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.bench.bulk import compare
from tests.bench.peers import OURS, Bucket, Tool, loop_command
from tests.bench.processes import end_group
from tests.bench.rows import Row, median, percentile
from tests.bench.save import edit_and_wait, make_tree, our_child, s3_client
from tests.bench.shaper import Line, Shaper

# Round trips and uplinks of real nodes: 40 ms to a bucket on the same continent, 123 ms to one across an ocean;
# 38 Mbit/s up is a slow home line, 280 Mbit/s the mean of a long benchmark over many nodes. Down: 500 Mbit/s.
LINES = tuple(
    Line(rtt_s, up_mbit * 1e6 / 8, 500e6 / 8)
    for rtt_s, up_mbit in ((0.040, 38), (0.040, 280), (0.123, 38), (0.123, 280))
)
PEERS = (OURS, Tool("s5cmd"), Tool("rclone"))


def rows(work: Path, bucket: Bucket, *, quick: bool) -> list[Row]:
    """Saves and bulk transfer over every line."""
    found: list[Row] = []
    for line in LINES[1:3] if quick else LINES:
        host, _, port = bucket.endpoint.removeprefix("http://").partition(":")
        with Shaper(host, int(port), line) as shaper:
            far = Bucket(f"http://127.0.0.1:{shaper.port}", bucket.name, bucket.key, bucket.secret)
            found.append(_saves(work, bucket, far, line, 8_000, 8 if quick else 20))
            found.append(_saves(work, bucket, far, line, 1_000_000, 4 if quick else 10))
            found += _bulk(work, far, line)
    return found


def _prefix(line: Line, what: str) -> str:
    return f"{what}-{line.rtt_s * 1000:.0f}-{line.up_bytes_s * 8 / 1e6:.0f}"


def _saves(work: Path, near: Bucket, far: Bucket, line: Line, size_bytes: int, count: int) -> Row:
    """Seconds from a closed file to the bucket; looked at from beside the line, so that looking costs nothing."""
    mine = _our_saves(work, near, far, _prefix(line, f"save{size_bytes}"), size_bytes, count)
    theirs = _loop_saves(work, near, far, _prefix(line, f"loop{size_bytes}"), size_bytes)
    worst = percentile(mine, 0.99)
    # The goal of at most a second lost is set for a line of 100 ms and 38 Mbit/s.
    goal_s = 1.0 if line.rtt_s <= 0.1 else 1.25
    return Row(
        f"save of {size_bytes / 1000:,.0f} kB -> in bucket, {line}",
        f"p99 <= {goal_s:g} s",
        f"p50 {median(mine):.2f} s, p99 {worst:.2f} s",
        f"start.sh loop {theirs:.1f} s",
        f"{theirs / median(mine):.0f}x",
        worst <= goal_s,
        figure="Save over real lines, seconds",
        bars={OURS.name: median(mine), "start.sh loop": theirs},
    )


def _our_saves(work: Path, near: Bucket, far: Bucket, prefix: str, size_bytes: int, count: int) -> list[float]:
    folder = work / prefix
    make_tree(folder, 50)
    client = s3_client(near)
    with our_child(folder, far, prefix):
        seconds = []
        for _ in range(count):
            time.sleep(0.5)
            body = os.urandom(size_bytes)
            seconds.append(edit_and_wait(client, near, prefix, folder / "thesis.ipynb", folder, body, 60))
    shutil.rmtree(folder)
    return seconds


def _loop_saves(work: Path, near: Bucket, far: Bucket, prefix: str, size_bytes: int) -> float:
    folder = work / prefix
    make_tree(folder, 50)
    argv, environ = loop_command(folder, far, prefix)
    loop = subprocess.Popen(argv, env=dict(environ), start_new_session=True)
    try:
        time.sleep(1)
        seconds = edit_and_wait(
            s3_client(near), near, prefix, folder / "thesis.ipynb", folder, os.urandom(size_bytes), 60
        )
    finally:
        end_group(loop)
        shutil.rmtree(folder)
    return seconds


def _bulk(work: Path, far: Bucket, line: Line) -> list[Row]:
    """A working folder as it is: 300 small files and one of 16 MiB."""
    source = work / _prefix(line, "folder")
    make_tree(source, 300, 4096)
    model = source / "model.bin"
    model.write_bytes(os.urandom(16 << 20))
    hour_ago = model.stat().st_mtime - 3600
    os.utime(model, (hour_ago, hour_ago))  # written long ago: what is fresh and large waits two seconds for more
    pushes, pulls = compare(work, far, source, 1, PEERS)
    shutil.rmtree(source)
    found = []
    for what, results in (("push", pushes), ("pull", pulls)):
        seconds = {name: median([cost.wall_s for cost in costs]) for name, costs in results.items()}
        best = min((name for name in seconds if name != OURS.name), key=lambda name: seconds[name])
        ratio = seconds[best] / seconds[OURS.name]
        found.append(
            Row(
                f"{what} 300 x 4 KiB + 16 MiB, {line}",
                ">= 1.0x the best peer",
                f"{seconds[OURS.name]:.1f} s",
                f"{best}: {seconds[best]:.1f} s",
                f"{ratio:.2f}x",
                ratio >= 1.0,
            )
        )
    return found
