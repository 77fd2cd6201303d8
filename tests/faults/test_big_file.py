"""A large file on a real SeaweedFS, killed halfway up and halfway down: at most one part a stream is sent again.

The long form moves more than 5 GB, which no single request may carry: PREFLIGHT_BIG_FILE_BYTES=5905580032 (with -s
it prints the figures; needs three times that room).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sync.host import PARTS_AT_ONCE
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server
from tests.support.synced import Machine
from tests.support.wait import until

Machines = Callable[..., Machine]
MIB = 1024 * 1024
SIZE = int(os.environ.get("PREFLIGHT_BIG_FILE_BYTES", 64 * MIB))
LIMIT_S = 60 + SIZE / (2 * MIB)

pytestmark = pytest.mark.timeout(2 * LIMIT_S + 300)


def make(path: Path) -> str:
    """A sparse file with words here and there; its MD5."""
    with path.open("wb") as file:
        file.truncate(SIZE)
        for at in range(0, SIZE - 64, 3 * MIB + 17):
            file.seek(at)
            file.write(b"here are words of byte %020d" % at)
    return md5(path)


def md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def uploads(server: S3Server) -> list[tuple[str, int, int]]:
    """(id, parts, bytes) of every unfinished upload."""
    client = server.client()
    found = []
    for upload in client.list_multipart_uploads(Bucket="lives").get("Uploads", ()):
        if not upload["Key"].endswith("/model.bin"):
            continue
        pages = client.get_paginator("list_parts").paginate(
            Bucket="lives", Key=upload["Key"], UploadId=upload["UploadId"]
        )
        parts = [part for page in pages for part in page.get("Parts", ())]
        found.append((upload["UploadId"], len(parts), sum(part["Size"] for part in parts)))
    return found


def got(machine: Machine) -> int:
    """Bytes of the download so far that a later life can go on with."""
    return sum(path.read_bytes().count(b"\1") for path in (machine.data / ".preflight" / "tmp").rglob("get-*.parts"))


def peak_mib(machine: Machine) -> int:
    """The most memory that the process had so far."""
    assert machine.process is not None
    lines = Path(f"/proc/{machine.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def test_a_large_file_is_resumed_after_a_kill(weed: S3Server, machines: Machines, tmp_path: Path) -> None:
    with FaultProxy(weed.ports[0]) as proxy:
        environ = weed.environ(f"lives/{tmp_path.name}")
        if SIZE < 1024 * MIB:  # slow enough for a middle to be killed in; a larger file has one by itself
            environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        machine = machines(environ, "first").start()
        slow = Faults(bytes_per_s=6.0 * MIB)
        proxy.faults = slow
        proxy.drop_all()
        digest = make(machine.data / "model.bin")
        began_s = time.monotonic()
        until(lambda: sum(size for _, _, size in uploads(weed)) > SIZE / 3, LIMIT_S, machine.describe)
        machine.kill()
        proxy.drop_all()
        [(upload, before, _)] = uploads(weed)
        proxy.faults = Faults()
        machine.start(ready=False)
        until(lambda: machine.keys().get("model.bin") == SIZE, LIMIT_S, machine.describe)
        machine.saved(LIMIT_S)
        up_s = time.monotonic() - began_s
        status = machine.status()
        assert status is not None
        sent, part_bytes = status.requests.get("part", 0), machine.store().facts.part_bytes
        parts = -(-SIZE // part_bytes)
        assert upload
        assert uploads(weed) == []
        assert before + sent <= parts + PARTS_AT_ONCE, "more than one part a stream went up again"
        up_mib = peak_mib(machine)
        machine.stop()

        other = machines(environ, "second")
        proxy.faults = slow
        began_s = time.monotonic()
        other.start(ready=False)
        until(lambda: got(other) * part_bytes > SIZE / 3, LIMIT_S, other.describe)
        other.kill()
        had = got(other)
        proxy.drop_all()
        proxy.faults = Faults()
        other.start(timeout_s=LIMIT_S)
        down_s = time.monotonic() - began_s
        status = other.status()
        assert status is not None
        assert status.bytes_received <= SIZE - had * part_bytes + PARTS_AT_ONCE * part_bytes + MIB
        assert md5(other.data / "model.bin") == digest
        again = max(0, before + sent - parts)
        print(
            f"\n{SIZE / 2**30:.2f} GiB in {parts} parts: killed at {before}, {sent} sent after that ({again} of them "
            f"again), {up_s:.0f} s, {up_mib} MiB of memory; "
            f"down: killed at {had}, {status.bytes_received / 2**20:.0f} MiB after that, "
            f"{down_s:.0f} s, {peak_mib(other)} MiB of memory; MD5 the same"
        )
