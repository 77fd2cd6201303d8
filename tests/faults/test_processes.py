"""Real processes under real trouble: stopped, killed, cut off, flooded, out of disk and out of watches."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sync.control import call
from sync.names import LEASE
from sync.status import State
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.moto import S3Server
from tests.support.synced import Machine, tree_of
from tests.support.wait import until

Machines = Callable[..., Machine]
Bucket = Mapping[str, str]


def body(machine: Machine, key: str) -> bytes | None:
    """An object's content, None when it is not there."""
    import io

    from sync.errors import NotFound

    store = machine.store()
    found = io.BytesIO()
    try:
        store.get(key, found)
    except NotFound:
        return None
    finally:
        store.close()
    return found.getvalue()


def test_sigterm_twice(weed: S3Server, machines: Machines, tmp_path: Path) -> None:
    """The second signal ends it at once, although the store hangs."""
    with FaultProxy(weed.ports[0]) as proxy:
        environ = weed.environ(f"lives/twice-{tmp_path.name}") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        machine = machines(environ, PREFLIGHT_FLUSH_TIMEOUT_S="600").start()
        proxy.faults = Faults(hang=True)
        proxy.drop_all()
        (machine.data / "a").write_text("never")
        machine.signal(signal.SIGTERM)
        machine.reaches(State.STOPPING)
        machine.signal(signal.SIGTERM)
        assert machine.process is not None
        assert machine.process.wait(15) == 3


def test_sigkill_at_every_moment(file_bucket: Bucket, machines: Machines) -> None:
    """Kills at random moments of a busy life; what status called saved is there, whatever happens next."""
    rng = random.Random(7)
    machine = machines(file_bucket)
    for life in range(6):
        machine.start(ready=False)
        until(lambda: (s := machine.status()) is not None and s.restored, 30, machine.describe)
        for number in range(20):
            (machine.data / f"f{rng.randrange(30)}.txt").write_text(f"{life}-{number}" * rng.randrange(1, 50))
        if life % 2:
            call(machine.state, {"cmd": "flush", "timeout_s": 20}, 30)
            expected = tree_of(machine.data)
            machine.kill()
            other = machines(file_bucket, f"node-{life}").start()
            assert tree_of(other.data) == expected
            other.stop()
        else:
            until(lambda: rng.random() < 0.2, 5)
            machine.kill()
    machine.start()
    assert {p.name for p in machine.data.glob("*.txt")} == set(machine.keys())


def test_an_edit_after_a_sigkill_in_the_middle_of_a_save_is_no_conflict(
    weed: S3Server, machines: Machines, tmp_path: Path
) -> None:
    """The bucket has the save and the process never heard of it: the next life knows it as its own."""
    with proxied(weed, f"middle-{tmp_path.name}") as (proxy, environ):
        direct = machines(weed.environ(f"lives/middle-{tmp_path.name}"), "looks-on")
        machine = machines(environ).start()
        for life, name in enumerate(("thesis.ipynb", "new.csv")):
            path, key = machine.data / name, f"PUT /lives/middle-{tmp_path.name}/{name}".encode()
            proxy.faults = Faults(hold_answer=True, when=key)
            text = f"saved in life {life}"
            path.write_text(text)
            until(lambda name=name, text=text: body(direct, name) == text.encode(), 60, machine.describe)  # type: ignore[misc]
            machine.kill()
            path.write_text(f"edited after life {life}")
            proxy.heal()
            machine.start(timeout_s=60)
            assert body(direct, name) == path.read_bytes()
            status = machine.status()
            assert status is not None
            assert status.conflicts == ()
        assert set(direct.keys()) == {"thesis.ipynb", "new.csv"}
        proxy.faults = Faults(hold_answer=True, when=key)  # the same once more, and then somebody else writes, too
        path.write_text("mine, saved")
        until(lambda: body(direct, name) == b"mine, saved", 60, machine.describe)
        machine.kill()
        path.write_text("mine, edited")
        store = direct.store()
        store.put(name, b"theirs", meta={})
        store.close()
        proxy.heal()
        machine.start(timeout_s=60)
        assert sorted(body(direct, key) or b"" for key in direct.keys() if key != "thesis.ipynb") == [  # noqa: SIM118
            b"mine, edited",
            b"theirs",
        ]


def test_zombie_process_stopped_while_another_node_takes_over(bucket: Bucket, machines: Machines) -> None:
    old = machines(bucket, "old").start()
    (old.data / "a").write_text("one")
    old.saved()
    old.signal(signal.SIGSTOP)
    new = machines(bucket, "new").start()
    (new.data / "a").write_text("the new node's")
    new.saved()
    (old.data / "a").write_text("the zombie's")
    old.signal(signal.SIGCONT)
    old.reaches(State.FENCED, 40)
    until(lambda: body(new, ".preflight/stranded/old/a") == b"the zombie's", 20, old.describe)
    assert body(new, "a") == b"the new node's"
    assert old.stop() == 11
    lease = body(new, LEASE)
    assert lease is not None
    assert b'"machine": "new"' in lease


def test_overflow_20k_creates_reader_stalled(file_bucket: Bucket, machines: Machines) -> None:
    """Far more events than the kernel's queue holds while nobody reads it: every file is saved."""
    machine = machines(file_bucket).start()
    machine.signal(signal.SIGSTOP)
    count = 20_000
    for number in range(count):
        if number % 1000 == 0:
            (machine.data / f"d{number // 1000}").mkdir()
        (machine.data / f"d{number // 1000}" / f"f{number}").touch()
    machine.signal(signal.SIGCONT)
    until(lambda: (s := machine.status()) is not None and s.files + s.pending_files >= count, 60, machine.describe)
    names = {f"d{n // 1000}/f{n}" for n in range(count)}
    # The upload of all of them is the bench's matter; here it counts that none was overlooked.
    until(lambda: len(machine.keys()) > 300, 60, machine.describe)
    assert names >= set(machine.keys())


def test_mkdir_p_race_600(file_bucket: Bucket, machines: Machines) -> None:
    machine = machines(file_bucket).start()
    script = "for i in $(seq 300); do mkdir -p d$i/b/c/d && echo $i > d$i/b/c/d/f && echo $i > d$i/g; done"
    subprocess.run(["bash", "-c", script], cwd=machine.data, check=True, timeout=60)
    expected = {f"d{n}/b/c/d/f" for n in range(1, 301)} | {f"d{n}/g" for n in range(1, 301)}
    until(lambda: set(machine.keys()) == expected, 60, machine.describe)


def test_watch_limit_enospc_fallback(file_bucket: Bucket, machines: Machines) -> None:
    """The kernel has watches for two folders only: the others are scanned every few seconds instead."""
    machine = machines(file_bucket)
    for number in range(6):
        (machine.data / f"d{number}").mkdir()
        (machine.data / f"d{number}" / "x").write_text("x")
    limit = 'echo 2 > /proc/sys/user/max_inotify_watches && exec "$@"'
    machine.wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"]
    machine.start()
    for number in range(6):
        (machine.data / f"d{number}" / "a").write_text("found by a scan")
    until(lambda: body(machine, "d5/a") == b"found by a scan", 25, machine.describe)
    until(lambda: len(machine.keys()) == 12, 40, machine.describe)


def test_disk_full_on_restore(file_bucket: Bucket, machines: Machines) -> None:
    """A node too small for the folder: a clear message, nothing deleted in the bucket."""
    big = machines(file_bucket, "big")
    for number in range(8):
        (big.data / f"f{number}").write_bytes(random.Random(number).randbytes(2 * 1024 * 1024))
    big.start()
    assert big.stop() == 0
    before = big.keys()
    small = machines(file_bucket, "small")
    disk = f'mount -t tmpfs -o size=8m tmpfs "{small.data}" && exec "$@"'
    small.wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", disk, "sh"]
    small.start(ready=False)
    status = small.reaches(State.FAILED)
    assert "full" in status.why
    assert not status.restored
    small.stop()
    assert small.keys() == before


@contextlib.contextmanager
def proxied(weed: S3Server, name: str) -> Iterator[tuple[FaultProxy, dict[str, str]]]:
    """A bucket folder behind a TCP proxy that can misbehave."""
    with FaultProxy(weed.ports[0]) as proxy:
        yield proxy, weed.environ(f"lives/{name}") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}


def test_connection_reset_each_16mb(weed: S3Server, machines: Machines, tmp_path: Path) -> None:
    """Uploads and downloads of 40 MB get through a line that breaks after every few megabytes."""
    with proxied(weed, f"reset-{tmp_path.name}") as (proxy, environ):
        machine = machines(environ, "first").start()
        content = random.Random(4).randbytes(40 * 1024 * 1024)
        proxy.faults = Faults(reset_after_bytes=16 * 1024 * 1024)
        (machine.data / "big").write_bytes(content)
        for _ in range(3):  # the way up breaks too
            until(lambda: (s := machine.status()) is not None and s.state is State.SAVING, 20, machine.describe)
            proxy.drop_all()
        until(lambda: "big" in machine.keys(), 90, machine.describe)  # noqa: SIM118
        machine.kill()
        other = machines(environ, "second").start(timeout_s=90)
        assert (other.data / "big").read_bytes() == content


def test_1_byte_per_second_stall(weed: S3Server, machines: Machines, tmp_path: Path) -> None:
    """A line that all but stops is an outage that is told, and over when it is over."""
    with proxied(weed, f"stall-{tmp_path.name}") as (proxy, environ):
        machine = machines(environ).start()
        proxy.faults = Faults(bytes_per_s=1.0)
        proxy.drop_all()
        (machine.data / "a").write_text("patience")
        waits = (State.SAVING, State.OFFLINE)
        until(
            lambda: (s := machine.status()) is not None and s.pending_files == 1 and s.state in waits,
            60,
            machine.describe,
        )
        proxy.heal()
        machine.saved(90)
        assert body(machine, "a") == b"patience"


def test_a_part_that_fails_for_good_is_sent_again_alone(weed: S3Server, machines: Machines, tmp_path: Path) -> None:
    """Every attempt at one part fails: the next try sends what is missing, and reads nothing but that."""
    prefix = f"part-{tmp_path.name}"
    with proxied(weed, prefix) as (proxy, environ):
        machine = machines(environ).start()
        content = random.Random(6).randbytes(48 * 1024 * 1024)
        refusal = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        proxy.faults = Faults(answer=refusal, when=f"PUT /lives/{prefix}/model.pt?partNumber=3".encode())
        (machine.data / "model.pt").write_bytes(content)
        until(lambda: proxy.hits >= 5, 60, machine.describe)
        until(lambda: "A transfer failed" in machine.log.read_text(), 60, machine.describe)
        read = file_bytes_read(machine)
        proxy.heal()
        machine.saved(60)
        assert body(machine, "model.pt") == content
        status = machine.status()
        assert status is not None
        assert status.requests["part"] - proxy.hits == 6, "each part arrived once"
        assert "list_parts" not in status.requests
        assert file_bytes_read(machine) - read < 20 * 1024 * 1024, "the file was hashed again"


def file_bytes_read(machine: Machine) -> int:
    """How much the process has read from files so far."""
    assert machine.process is not None
    lines = Path(f"/proc/{machine.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))
