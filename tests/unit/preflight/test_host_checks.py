"""What the container was given, the folder, the warm-up command and the way to a server: real files and sockets."""

from __future__ import annotations

import datetime
import os
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from preflight import cgroup
from preflight.checks import Broken, Check, Context, NotExpected, Reading, all_checks
from preflight.errors import Unmeasured
from preflight.model import Blame
from preflight.platforms.bare import Bare
from preflight.platforms.salad import Salad
from sync.clock import SystemClock
from sync.stores.config import StoreConfig, file_config
from tests.support.wait import until

CHECKS: dict[str, Check] = {check.name: check for check in all_checks()}
GIB = 1 << 30


def context(tmp_path: Path, *, endpoint: str = "", **environ: str) -> Context:
    stores = (StoreConfig("s3", "thesis", "user", endpoint=endpoint),) if endpoint else (file_config(tmp_path / "b"),)
    return Context(
        environ={"PATH": "/usr/bin:/bin", **environ}, platform=Bare({}), data_dir=tmp_path / "data",
        state_dir=tmp_path / "state", stores=stores, clock=SystemClock(), rng=random.Random(1),
    )  # fmt: skip


def measure(name: str, where: Context) -> Reading:
    reading = CHECKS[name].measure(where)
    return reading if isinstance(reading, Reading) else Reading(reading)


# --- cgroups ------------------------------------------------------------------------------------------------------


def lay(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: {32 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {20 * GIB // 1024} kB\n")
    return path


def test_memory_of_cgroup_v2(tmp_path: Path, meminfo: Path) -> None:
    lay(tmp_path, memory_DOT_max=str(16 * GIB), memory_DOT_current=str(10 * GIB))
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {4 * GIB}\n")
    assert cgroup.memory(tmp_path, meminfo) == cgroup.Memory(16 * GIB, 10 * GIB, "cgroup v2")


def test_memory_of_cgroup_v1(tmp_path: Path, meminfo: Path) -> None:
    lay(tmp_path, memory__memory_DOT_limit_in_bytes=str(GIB), memory__memory_DOT_usage_in_bytes=str(GIB // 2))
    assert cgroup.memory(tmp_path, meminfo) == cgroup.Memory(GIB, GIB // 2, "cgroup v1")


@pytest.mark.parametrize("text", ["max", "", "rubbish", str((1 << 63) - 4096), str(64 * GIB)])
def test_no_limit_means_the_machine(tmp_path: Path, meminfo: Path, text: str) -> None:
    lay(tmp_path, memory_DOT_max=text)
    assert cgroup.memory(tmp_path, meminfo) == cgroup.Memory(32 * GIB, 20 * GIB, "machine")


def test_nothing_tells_the_memory(tmp_path: Path) -> None:
    assert cgroup.memory(tmp_path, tmp_path / "nothing") is None
    lay(tmp_path, memory_DOT_max=str(GIB))
    assert cgroup.memory(tmp_path, tmp_path / "nothing") == cgroup.Memory(GIB, GIB, "cgroup v2")


@pytest.mark.parametrize(("text", "count"), [("50000 100000", 0.5), ("100000 100000\n", 1.0)])
def test_cpus_of_cgroup_v2(tmp_path: Path, text: str, count: float) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cgroup.cpus(tmp_path) == cgroup.Cpus(count, "cgroup v2")


def test_cpus_of_cgroup_v1_and_of_the_machine(tmp_path: Path) -> None:
    allowed = float(len(os.sched_getaffinity(0)))
    assert cgroup.cpus(tmp_path) == cgroup.Cpus(allowed, "machine")
    lay(tmp_path, cpu__cpu_DOT_cfs_quota_us="25000", cpu__cpu_DOT_cfs_period_us="100000")
    assert cgroup.cpus(tmp_path) == cgroup.Cpus(0.25, "cgroup v1")
    (tmp_path / "cpu.max").write_text("max 100000")
    lay(tmp_path, cpu__cpu_DOT_cfs_quota_us="-1")
    assert cgroup.cpus(tmp_path) == cgroup.Cpus(allowed, "machine")


def test_this_machine_can_be_measured(tmp_path: Path) -> None:
    where = context(tmp_path)
    for name in ("host.cpus", "host.memory", "host.memory_free", "host.shm", "host.open_files"):
        value = measure(name, where).value
        assert isinstance(value, float)
        assert value > 0


def test_ipv6_matters_on_salad_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = context(tmp_path)
    genuine = socket.create_server

    def refuse(address: tuple[str, int], **options: object) -> socket.socket:
        if address[0] == "::":
            raise OSError("no IPv6")
        return genuine(address)

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(NotExpected):
        measure("host.ipv6", where)
    with pytest.raises(Broken) as broken:
        measure("host.ipv6", replace(where, platform=Salad({}, SystemClock())))
    assert broken.value.blame is Blame.PLATFORM


# --- the data folder ----------------------------------------------------------------------------------------------


def test_a_writable_folder_is_made_and_left_clean(tmp_path: Path) -> None:
    where = context(tmp_path)
    assert measure("data.writable", where).value >= 0
    assert measure("disk.write", where).detail["written_bytes"] == 64 * 1024 * 1024
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []
    free = measure("disk.free", where).value
    assert isinstance(free, float)
    assert free > 0


def test_a_folder_that_cannot_be_written_is_not_the_nodes_fault(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(Broken) as broken:
        measure("data.writable", context(tmp_path))
    assert broken.value.blame is Blame.IMAGE
    assert "PREFLIGHT_DATA_DIR" in broken.value.advice


def test_a_file_system_without_a_size_is_not_full(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured):
        measure("disk.free", replace(context(tmp_path), data_dir=Path("/proc/preflight")))


# --- the warm-up command ------------------------------------------------------------------------------------------


def warm(tmp_path: Path, command: str, **environ: str) -> Reading:
    return measure("warmup.result", context(tmp_path, PREFLIGHT_WARMUP_COMMAND=command, **environ))


def test_the_last_line_is_the_number(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert warm(tmp_path, "echo loading; echo; echo 81.5; echo").value == 81.5
    assert warm(tmp_path, "pwd >&2; [ $(pwd) = %s ] && echo 1" % (tmp_path / "data")).value == 1.0
    assert warm(tmp_path, "yes noise | head -c 3000000; echo; echo 7").value == 7.0


def test_the_command_does_not_see_the_buckets_keys(tmp_path: Path) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "s", "AZURE_BLOB_SAS_TOKEN": "t", "JUPYTERLAB_PW": "p", "MINE": "5"}
    assert (
        warm(
            tmp_path, "[ -z $AWS_SECRET_ACCESS_KEY$AZURE_BLOB_SAS_TOKEN$JUPYTERLAB_PW ] && echo $MINE", **secrets
        ).value
        == 5.0
    )


@pytest.mark.parametrize("command", ["echo fast", "true", "echo nan", "echo inf", "printf '3 ms'"])
def test_no_number_is_unknown(tmp_path: Path, command: str) -> None:
    with pytest.raises(Unmeasured):
        warm(tmp_path, command)


@pytest.mark.parametrize("command", ["exit 3", "/no/such/thing", "kill -9 $$", "echo 5; exit 1"])
def test_a_command_that_fails_says_nothing_about_the_node(tmp_path: Path, command: str) -> None:
    with pytest.raises(Broken) as broken:
        warm(tmp_path, command)
    assert broken.value.blame is Blame.IMAGE


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    started = time.monotonic()
    with pytest.raises(Unmeasured, match="longer than 1 s"):
        warm(tmp_path, "sleep 60 & echo $! > pid; sleep 60", PREFLIGHT_WARMUP_TIMEOUT_S="1")
    assert time.monotonic() - started < 10
    pid = int((tmp_path / "data" / "pid").read_text())

    def is_gone() -> bool:
        told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        return not told.strip() or told.strip().startswith("Z")

    until(is_gone, 10)


def test_without_a_command_it_is_not_expected(tmp_path: Path) -> None:
    with pytest.raises(NotExpected):
        measure("warmup.result", context(tmp_path))


# --- the way to the bucket ----------------------------------------------------------------------------------------


@pytest.fixture
def quiet_port() -> Iterator[int]:
    """A port that accepts and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def test_latency_is_the_least_of_seven_connects(tmp_path: Path, quiet_port: int) -> None:
    reading = measure("bucket.latency", context(tmp_path, endpoint=f"http://127.0.0.1:{quiet_port}"))
    samples = reading.detail["samples"]
    assert isinstance(samples, list)
    assert len(samples) == 7
    assert reading.value == min(samples)


def test_refused_connections_prove_the_endpoint_broken(tmp_path: Path) -> None:
    with pytest.raises(Broken) as broken:
        measure("bucket.latency", context(tmp_path, endpoint="http://127.0.0.1:9"))
    assert broken.value.blame is Blame.ENDPOINT


def test_a_host_that_is_no_host(tmp_path: Path) -> None:
    with pytest.raises((Broken, Unmeasured)):
        measure("bucket.dns", context(tmp_path, endpoint="http://no host.invalid"))


def test_a_certificate_that_nobody_signed_is_the_endpoints(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "portal.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                try:
                    server.wrap_socket(client, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(Broken) as broken:
            measure("bucket.tls", context(tmp_path, endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join(5)
    assert broken.value.blame is Blame.ENDPOINT
    assert "not to be trusted" in broken.value.why


def test_a_local_folder_needs_no_network(tmp_path: Path) -> None:
    for name in ("bucket.dns", "bucket.latency", "bucket.tls", "bucket.first_byte", "host.clock", "bucket.upload"):
        with pytest.raises(NotExpected):
            measure(name, context(tmp_path))


def test_the_public_speed_test_is_off_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotExpected, match="PREFLIGHT_SPEEDTEST=1"):
        measure("reference.speedtest", context(tmp_path))


def test_icmp_counts_only_what_came_back_and_needs_no_privilege_to_survive(tmp_path: Path, quiet_port: int) -> None:
    where = context(tmp_path, endpoint=f"http://127.0.0.1:{quiet_port}")
    try:
        reading = measure("reference.icmp", where)
    except (NotExpected, Unmeasured):
        return  # no raw sockets here, or nothing answers: said, not counted as slow
    assert isinstance(reading.value, float)
    assert reading.value < 0.5
    assert len(reading.detail["samples"]) == 5 - int(str(reading.detail["lost"])) - 1  # type: ignore[arg-type]
