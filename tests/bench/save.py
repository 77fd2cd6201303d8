"""Save -> in the bucket: what a person waits for, and what a provider bills, against the size of the tree."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from sync.status import State, read_status
from tests.bench.counting import CountingRelay
from tests.bench.peers import Bucket, Tool, loop_command, ours
from tests.bench.processes import BIN, end_group, run
from tests.bench.rows import percentile


@dataclass(frozen=True, slots=True)
class Saves:
    """Latencies of the saves that arrived, how many never did, and the requests of them all."""

    latencies_s: tuple[float, ...]
    lost: int
    requests: dict[str, int]

    def p(self, share: float) -> float:
        """A percentile of the latency in seconds."""
        return percentile(self.latencies_s, share) if self.latencies_s else float("inf")


def make_tree(folder: Path, files: int, size_bytes: int = 256, per_folder: int = 100) -> None:
    """`files` small files, a hundred to a folder, each with its own content."""
    for number in range(files):
        if number % per_folder == 0:
            home = folder / f"d{number // per_folder:05d}"
            home.mkdir(parents=True, exist_ok=True)
        (home / f"f{number:07d}.txt").write_bytes((b"%07d-" % number) * (size_bytes // 8))


def s3_client(bucket: Bucket):  # type: ignore[no-untyped-def]
    """A client that watches the bucket directly, beside every relay."""
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.key,
        aws_secret_access_key=bucket.secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def edit_and_wait(client, bucket: Bucket, prefix: str, path: Path, folder: Path, body: bytes, limit_s: float) -> float:  # type: ignore[no-untyped-def]
    """Write a file as an editor does and wait until the bucket holds exactly it. Infinity when it never did."""
    want = '"' + hashlib.md5(body).hexdigest() + '"'
    key = f"{prefix}/{path.relative_to(folder)}"
    path.write_bytes(body)
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        try:
            if client.head_object(Bucket=bucket.name, Key=key)["ETag"] == want:
                return time.monotonic() - started
        except ClientError:
            pass
        time.sleep(0.004)
    return float("inf")


@contextmanager
def our_child(folder: Path, bucket: Bucket, prefix: str, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """`preflight-sync run`, waited for until everything is saved; stopped by SIGTERM."""
    with child_of(folder, ours(folder, bucket, prefix, **extra), 1_800) as child:
        yield child


@contextmanager
def child_of(folder: Path, environ: Mapping[str, str], limit_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """The same in any environment; everything is saved within `limit_s` seconds or it is a `TimeoutError`."""
    state_dir = Path(environ["PREFLIGHT_STATE_DIR"])
    with Path(f"{folder}.log").open("wb") as log:
        child = subprocess.Popen([BIN / "preflight-sync", "run"], env=environ, stdout=log, stderr=log)
    try:
        wait_saved(state_dir, limit_s, child)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


def wait_saved(state_dir: Path, limit_s: float, child: subprocess.Popen[bytes]) -> float:
    """Seconds until the status says saved with nothing pending, in a document newer than the call."""
    began, wall = time.monotonic(), time.time()
    while time.monotonic() - began < limit_s:
        if child.poll() is not None:
            raise RuntimeError(f"preflight-sync run ended with {child.returncode}; see the log beside its folder")
        status = read_status(state_dir)
        if status and status.state is State.SAVED and status.pending_files == 0 and status.updated_at >= wall - 0.05:
            return time.monotonic() - began
        time.sleep(0.01)
    raise TimeoutError(f"not saved after {limit_s} s: {read_status(state_dir)}")


def ours_saves(work: Path, bucket: Bucket, files: int, count: int) -> Saves:
    """Our child under `count` saves of one notebook in a tree of `files`."""
    folder = work / f"ours-{files}"
    make_tree(folder, files)
    relay = CountingRelay(*_address(bucket.endpoint))
    through = Bucket(f"http://127.0.0.1:{relay.port}", bucket.name, bucket.key, bucket.secret)
    try:
        with our_child(folder, through, folder.name):
            return _saves(bucket, folder, relay, count, limit_s=30, pause_s=0.25)
    finally:
        relay.close()
        shutil.rmtree(folder)


def loop_saves(work: Path, bucket: Bucket, files: int, count: int) -> Saves:
    """The start.sh loop under the same saves, spread over several of its rounds."""
    folder = work / f"loop-{files}"
    make_tree(folder, files)
    relay = CountingRelay(*_address(bucket.endpoint))
    through = Bucket(f"http://127.0.0.1:{relay.port}", bucket.name, bucket.key, bucket.secret)
    argv, environ = loop_command(folder, through, folder.name)
    run(*Tool("s5cmd").push(folder, bucket, folder.name))  # what an earlier session left there, by the fastest way
    loop = subprocess.Popen(argv, env=dict(environ), start_new_session=True)
    try:
        time.sleep(1 + files / 20_000)  # inotifywait sets its watches
        return _saves(bucket, folder, relay, count, limit_s=20 + files / 800, pause_s=1.3)
    finally:
        end_group(loop)
        relay.close()
        shutil.rmtree(folder)


def _saves(bucket: Bucket, folder: Path, relay: CountingRelay, count: int, *, limit_s: float, pause_s: float) -> Saves:
    client = s3_client(bucket)
    notebook = folder / "d00000" / "thesis.ipynb"
    edit_and_wait(client, bucket, folder.name, notebook, folder, b"{}", 30)
    relay.reset()
    latencies = []
    for number in range(count):
        time.sleep(pause_s)
        body = b'{"cells": [%d], "pad": "%s"}' % (number, b"x" * 8000)
        latencies.append(edit_and_wait(client, bucket, folder.name, notebook, folder, body, limit_s))
    arrived = tuple(latency for latency in latencies if latency != float("inf"))
    return Saves(arrived, len(latencies) - len(arrived), relay.counts())


def _address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    return host, int(port)
