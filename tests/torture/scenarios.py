"""What is done to real sync processes. Each scenario takes an empty folder and a seed, and returns what it counted.

A broken guarantee is an AssertionError; the seed decides everything but the machine's timing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sync.lease import TERM_S
from sync.status import State
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server
from tests.support.seaweed import seaweed
from tests.support.wait import until
from tests.torture.child import Child, contents
from tests.torture.writer import Writer

OURS = (".preflight/", ".preflight-store/")


def bucket_of(folder: Path) -> dict[str, bytes]:
    """What a `file://` bucket holds for the user."""
    return {k: v for k, v in contents(folder).items() if not k.startswith(OURS)} if folder.exists() else {}


def in_bucket(server: S3Server, bucket: str, prefix: str) -> dict[str, bytes]:
    """What an S3 bucket holds for the user below a prefix."""
    client = server.client()
    found: dict[str, bytes] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for item in page.get("Contents", ()):
            key = item["Key"].removeprefix(f"{prefix}/")
            if not key.startswith(OURS) and not key.endswith("/"):
                found[key] = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
    return found


def only_real_states(stored: dict[str, bytes], writers: list[Writer]) -> None:
    """G6: nobody finds a content that no file ever had."""
    known = set().union(*(writer.states for writer in writers))
    torn = {key: body[:60] for key, body in stored.items() if body not in known}
    assert torn == {}


def kill_loop(folder: Path, seed: int, kills: int = 6) -> Counter[str]:
    """SIGKILL at any instruction, with and without the disk; what was called saved is there ever after."""
    rng = random.Random(seed)
    count: Counter[str] = Counter()
    environ = {"PREFLIGHT_STORE": f"file://{folder / 'bucket'}"}
    child = Child(folder / "node", "m1", environ)
    writers = []
    for life in range(kills):
        with child:
            writer = Writer(child.data, rng, f"life{life}")
            writers.append(writer)
            if rng.random() < 0.5:
                child.wait_saved()
            for _ in range(rng.randint(1, 12)):
                count[writer.edit()] += 1
                time.sleep(rng.choice((0.0, 0.0, 0.01, 0.3)))
            saved = None
            if rng.random() < 0.5:
                child.flush()
                saved = contents(child.data)
            else:
                time.sleep(rng.uniform(0.0, 0.8))
            child.kill()
            count["kills"] += 1
        only_real_states(bucket_of(folder / "bucket"), writers)
        if saved is not None:
            count["saved"] += 1
            assert bucket_of(folder / "bucket") == saved
            if rng.random() < 0.5:
                child.lose_disk()
                count["disks lost"] += 1
    with child:
        child.flush()
        assert bucket_of(folder / "bucket") == contents(child.data)
        assert child.stop() == 0
    return count


def zombie(folder: Path, seed: int) -> Counter[str]:
    """A node is stopped, another takes over; when the first wakes it destroys nothing and parks what it had."""
    rng = random.Random(seed)
    environ = {"PREFLIGHT_STORE": f"file://{folder / 'bucket'}"}
    first, second = Child(folder / "a", "m1", environ), Child(folder / "b", "m2", environ)
    with first:
        old = Writer(first.data, rng, "old")
        old.write(first.data / "thesis.txt", b"version one")
        old.write(first.data / "other.txt", b"other one")
        first.wait_saved()
        first.signal(signal.SIGSTOP)
        old.write(first.data / "thesis.txt", b"written while nobody looked")
        old.write(first.data / "new.txt", b"also unseen")
        with second:
            second.wait_saved()
            time.sleep(TERM_S)  # the first one may write for as long as it knows of nothing better
            new = Writer(second.data, rng, "new")
            new.write(second.data / "thesis.txt", b"version two")
            second.flush()
            time.sleep(rng.uniform(0, 2))
            before = bucket_of(folder / "bucket")
            assert before["thesis.txt"] == b"version two"
            first.signal(signal.SIGCONT)
            first.wait(State.FENCED, limit_s=90)
            stranded = folder / "bucket" / ".preflight" / "stranded" / "m1"
            until(lambda: (stranded / "thesis.txt").exists() and (stranded / "new.txt").exists(), 60, first.output)
            assert (stranded / "thesis.txt").read_bytes() == b"written while nobody looked"
            after = bucket_of(folder / "bucket")
            allowed = [name for name in after if name in before or "(conflict" in name or name == "new.txt"]
            assert {name: after[name] for name in before} == before
            assert sorted(after) == sorted(allowed)
    return Counter(zombies=1)


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[None]:
    """A tmpfs of its own."""
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "torture", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def disk_full(folder: Path, seed: int) -> Counter[str]:
    """A restore into a disk without room says so, deletes nothing, and ends well when there is room."""
    rng = random.Random(seed)
    environ = {"PREFLIGHT_STORE": f"file://{folder / 'bucket'}"}
    bodies = {f"file-{n:02}.bin": rng.randbytes(400_000) for n in range(20)}
    (folder / "bucket").mkdir(parents=True)
    for name, body in bodies.items():
        (folder / "bucket" / name).write_bytes(body)
    with small_disk(folder / "small", "12m"):
        ballast = folder / "small" / "ballast"
        ballast.write_bytes(bytes(7 * 1024 * 1024))
        child = Child(folder / "small" / "node", "m1", environ)
        with child:
            child.wait(State.FAILED, limit_s=60)
            assert "full" in (child.status().why + child.status().hint).lower()
            assert bucket_of(folder / "bucket") == bodies
            whole = contents(child.data)
            assert {name: bodies[name] for name in whole} == whole  # nothing is there in part
            ballast.unlink()
            child.wait_saved(limit_s=120)
            assert contents(child.data) == bodies
            assert bucket_of(folder / "bucket") == bodies
    return Counter(full_disks=1)


def burst(folder: Path, seed: int, files: int = 20_000) -> Counter[str]:
    """So many files at once that the kernel drops events: every one of them is saved."""
    environ = {"PREFLIGHT_STORE": f"file://{folder / 'bucket'}"}
    rng = random.Random(seed)
    child = Child(folder / "node", "m1", environ)
    with child:
        child.wait_saved()
        for number in range(files):
            path = child.data / f"d{number % 50}" / f"{number}.txt"
            if number < 50:
                path.parent.mkdir()
            path.write_bytes(b"%d %d" % (number, rng.randrange(10**6)))
        child.flush(limit_s=600)
        assert bucket_of(folder / "bucket") == contents(child.data)
    return Counter(burst_files=files)


FAULTS: dict[str, Callable[[random.Random], Faults]] = {
    "latency": lambda rng: Faults(latency_s=rng.uniform(0.02, 0.2)),
    "reset": lambda rng: Faults(reset_after_bytes=rng.randrange(0, 400), times=rng.randint(1, 20)),
    "cut": lambda rng: Faults(cut_after_bytes=rng.randrange(0, 400), times=rng.randint(1, 20)),
    "swallowed answer": lambda rng: Faults(swallow_answer=True, when=b"PUT ", times=rng.randint(1, 5)),
    "swallowed delete": lambda rng: Faults(swallow_answer=True, when=b"DELETE ", times=rng.randint(1, 5)),
    "refused": lambda rng: Faults(refuse=True, times=rng.randint(1, 30)),
    "hang": lambda rng: Faults(hang=True, times=rng.randint(1, 3)),
    "503": lambda rng: Faults(answer=SLOW_DOWN, times=rng.randint(1, 10)),
    "flipped bit": lambda rng: Faults(flip_bit_at=rng.randrange(200, 600), when=b"GET ", times=rng.randint(1, 3)),
}
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Type: application/xml\r\nContent-Length: 66\r\n"
    b"Connection: close\r\n\r\n<Error><Code>SlowDown</Code><Message>Slow down</Message></Error>  "
)


def bad_network(folder: Path, seed: int, troubles: int = 5) -> Counter[str]:
    """A real SeaweedFS behind a line that loses, cuts, delays and repeats; in the end both sides are the same."""
    rng = random.Random(seed)
    count: Counter[str] = Counter()
    with seaweed(folder / "weed") as server, FaultProxy(server.ports[0]) as proxy:
        server.creates_bucket("torture")
        environ = {**server.environ("torture/user"), "AWS_ENDPOINT_URL": proxy.url}
        child = Child(folder / "node", "m1", environ)
        writers = []
        with child:
            child.wait_saved()
            writer = Writer(child.data, rng, f"seed{seed}")
            writers.append(writer)
            for _ in range(troubles):
                name = rng.choice(sorted(FAULTS))
                count[name] += 1
                proxy.faults = FAULTS[name](rng)
                for _ in range(rng.randint(1, 8)):
                    writer.edit()
                    time.sleep(rng.choice((0.0, 0.01, 0.2)))
                if rng.random() < 0.3:
                    child.kill()
                    count["kills"] += 1
                    child.start()
                time.sleep(rng.uniform(0, 1.5))
                proxy.heal()
            with suppress(OSError):
                os.sync()
            child.flush(limit_s=180)
            stored = in_bucket(server, "torture", "user")
            assert stored == contents(child.data)
            only_real_states(stored, writers)
        child.lose_disk()
        again = Child(folder / "again", "m2", environ)
        with again:
            again.wait_saved()
            assert contents(again.data) == stored
    return count


SCENARIOS: dict[str, Callable[[Path, int], Counter[str]]] = {
    "kill loop": kill_loop,
    "zombie": zombie,
    "disk full": disk_full,
    "burst": burst,
    "bad network": bad_network,
}
