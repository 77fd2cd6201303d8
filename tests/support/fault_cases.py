"""Everything that goes wrong around a node, as data: what is broken, which check must name it, and whose fault it is.

`node=True` marks what really is the node's; only these may ever lead to a reallocation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.support.fakegpu import PROFILES, FakeGpu, profile
from tests.support.faultproxy import Faults

# A demanding user: every limit that could cost a node is set, so that a wrong reading would be dangerous.
DEMANDS = {
    "PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST": "4Mbps",
    "PREFLIGHT_LIMIT_BUCKET_DOWNLOAD_AT_LEAST": "4Mbps",
    "PREFLIGHT_LIMIT_BUCKET_LATENCY_AT_MOST": "300ms",
    "PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": "100MB",
    "PREFLIGHT_LIMIT_HOST_MEMORY_AT_LEAST": "512MB",
    "PREFLIGHT_LIMIT_GPU_MEMORY_FREE_AT_LEAST": "1GiB",
    "PREFLIGHT_LIMIT_WARMUP_RESULT_AT_LEAST": "10",
}


Change = Mapping[str, Mapping[str, int | str]]  # what differs in a machine: values, faults, cuda
USUAL = "linux-570"


@dataclass(frozen=True)
class Case:
    """One fault. `check` "" means that nothing needs to be named; `blames` are the right ones."""

    name: str
    check: str = ""
    blames: tuple[str, ...] = ()
    node: bool = False
    network: Faults | None = None
    gpu: FakeGpu | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    imds: Mapping[str, object] | None = None  # fault of POST /v1/reallocate, on a node that deserves to go
    skew_s: float = 0.0
    data_dir: str = ""
    endpoint: str = ""  # instead of the proxy
    slow_bucket_only: bool = False  # a second store is fast
    first_process_only: bool = False  # the driver's fault is gone when a second process looks
    on_the_way: bool = False  # with a GPU: the fault is the network's, so everything is looked at

    def concerns(self, lane: str) -> bool:
        """Whether the checks of this lane belong to the case."""
        return self.on_the_way or (lane == "gpu") == bool(self.gpu)


def answer(status: str, code: str = "", *, headers: str = "", body: bytes | None = None) -> bytes:
    """A whole HTTP answer, in S3's form unless `body` is given."""
    if body is None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n{headers}"
    return head.encode() + b"Connection: close\r\n\r\n" + body


ACCOUNT, ENDPOINT, PLATFORM, UNKNOWN, NODE, IMAGE = "account", "endpoint", "platform", "unknown", "node", "image"
ACCESS = "bucket.access"


def bucket_cases() -> Iterator[Case]:
    """What a bucket, its key and the way to it do wrong."""

    def said(name: str, blames: tuple[str, ...], status: str, code: str = "", when: bytes = b"", **more: str) -> Case:
        return Case(name, ACCESS, blames, network=Faults(answer=answer(status, code, **more), when=when))

    yield Case("refused at once", ACCESS, (ENDPOINT,), network=Faults(refuse=True))
    yield Case("never answers", ACCESS, (ENDPOINT, UNKNOWN), network=Faults(hang=True))
    yield Case("nobody listens", "bucket.latency", (ENDPOINT,), endpoint="http://127.0.0.1:9")
    yield said("access denied", (ACCOUNT,), "403 Forbidden", "AccessDenied")
    yield said("wrong secret", (ACCOUNT,), "403 Forbidden", "SignatureDoesNotMatch")
    yield said("unknown key", (ACCOUNT,), "403 Forbidden", "InvalidAccessKeyId")
    yield said("expired token", (ACCOUNT,), "400 Bad Request", "ExpiredToken")
    yield said("invalid token", (ACCOUNT,), "403 Forbidden", "InvalidToken")
    yield said("suspended account", (ACCOUNT,), "403 Forbidden", "AllAccessDisabled")
    yield said("no such bucket", (ACCOUNT,), "404 Not Found", "NoSuchBucket")
    yield said("unauthorized", (ACCOUNT,), "401 Unauthorized", "Unauthorized")
    yield said("signer's clock", (PLATFORM,), "403 Forbidden", "RequestTimeTooSkewed")
    yield said("may not write", (ACCOUNT,), "403 Forbidden", "AccessDenied", when=b"PUT ")
    yield said("may not delete", (ACCOUNT,), "403 Forbidden", "AccessDenied", when=b"DELETE ")
    yield said("may not read", (ACCOUNT,), "403 Forbidden", "AccessDenied", when=b"GET /thesis/user/")
    yield said("may not list", (ACCOUNT,), "403 Forbidden", "AccessDenied", when=b"GET /thesis?")
    yield said("internal error", (ENDPOINT,), "500 Internal Server Error", "InternalError")
    yield said("bad gateway", (ENDPOINT,), "502 Bad Gateway", body=b"<html>bad gateway</html>")
    yield said("unavailable", (ENDPOINT, UNKNOWN), "503 Service Unavailable", "ServiceUnavailable")
    yield said("slow down", (ENDPOINT, UNKNOWN), "503 Slow Down", "SlowDown")
    yield said("too many requests", (ENDPOINT, UNKNOWN), "429 Too Many Requests", "TooManyRequests")
    yield said("gateway timeout", (ENDPOINT,), "504 Gateway Timeout", body=b"")
    yield said(
        "only reading fails", (ENDPOINT,), "500 Internal Server Error", "InternalError", when=b"GET /thesis/user"
    )
    yield said("only deleting fails", (ENDPOINT,), "500 Internal Server Error", "InternalError", when=b"DELETE ")
    yield Case("no HTTP", "bucket.first_byte", (ENDPOINT,), network=Faults(answer=b"SSH-2.0-OpenSSH_9.6\r\n"))
    yield Case("cut answers", ACCESS, (ENDPOINT,), network=Faults(cut_after_bytes=60, when=b"GET /thesis/"))
    yield Case("reset answers", ACCESS, (ENDPOINT,), network=Faults(reset_after_bytes=60, when=b"GET /thesis/"))
    yield Case("answers lost", ACCESS, (ENDPOINT, UNKNOWN), network=Faults(swallow_answer=True, when=b"PUT "))
    yield Case("TLS on a plain port", "bucket.tls", (ENDPOINT, UNKNOWN), endpoint="https://127.0.0.1:{port}")
    yield Case("name not found", "bucket.dns", (ACCOUNT, UNKNOWN), endpoint="http://no-such-host.invalid:9")
    yield Case("far away", network=Faults(latency_s=0.08))
    yield Case("server thinks for 2.5 s", "bucket.first_byte", (ENDPOINT, UNKNOWN), network=Faults(latency_s=2.5))
    yield Case("clock 16 min ahead", "host.clock", (PLATFORM,), skew_s=960.0)
    yield Case("clock 16 min behind", "host.clock", (PLATFORM,), skew_s=-960.0)
    yield Case("clock a day ahead", "host.clock", (PLATFORM,), skew_s=86400.0)
    yield Case("slow line", "bucket.download", (NODE,), node=True, network=Faults(bytes_per_s=40e3))
    yield Case(
        "slow bucket, fast second store", "bucket.download", (ENDPOINT, NODE),
        network=Faults(bytes_per_s=40e3), slow_bucket_only=True,
    )  # fmt: skip


def machine_cases() -> Iterator[Case]:
    """What the machine, the platform and the user's own settings do wrong."""
    yield Case("healthy, no GPU")
    yield Case("data folder is a file", "data.writable", (IMAGE,), data_dir="file")
    yield Case("data folder below a file", "data.writable", (IMAGE,), data_dir="file/below")
    yield Case("data folder in /proc", "data.writable", (IMAGE,), data_dir="/proc/preflight")
    yield Case("warm-up fails", "warmup.result", (IMAGE,), environ={"PREFLIGHT_WARMUP_COMMAND": "exit 3"})
    yield Case("warm-up is missing", "warmup.result", (IMAGE,), environ={"PREFLIGHT_WARMUP_COMMAND": "/no/such"})
    yield Case("warm-up prints words", "warmup.result", (UNKNOWN,), environ={"PREFLIGHT_WARMUP_COMMAND": "echo fast"})
    yield Case("warm-up prints nothing", "warmup.result", (UNKNOWN,), environ={"PREFLIGHT_WARMUP_COMMAND": "true"})
    yield Case("warm-up prints nan", "warmup.result", (UNKNOWN,), environ={"PREFLIGHT_WARMUP_COMMAND": "echo nan"})
    hang = {"PREFLIGHT_WARMUP_COMMAND": "sleep 60", "PREFLIGHT_WARMUP_TIMEOUT_S": "1"}
    yield Case("warm-up hangs", "warmup.result", (UNKNOWN,), environ=hang)
    killed = {"PREFLIGHT_WARMUP_COMMAND": "kill -9 $$"}
    yield Case("warm-up is killed", "warmup.result", (IMAGE,), environ=killed)
    slow = {"PREFLIGHT_WARMUP_COMMAND": "echo 3"}
    yield Case("slow application", "warmup.result", (NODE,), node=True, environ=slow)
    for name, fault in {
        "refuses": {"status": 403}, "is broken": {"status": 500}, "does not know it": {"status": 404},
        "calls it wrong": {"status": 400}, "redirects": {"status": 302}, "hangs": {"hang": True}, "cuts": {"cut": True},
        "says 200": {"status": 200},
    }.items():  # fmt: skip
        yield Case(f"platform {name}", "warmup.result", (NODE,), node=True, environ=slow, imds=fault)


NVML_CALLS = {
    "nvmlInitWithFlags": "gpu.count",
    "nvmlDeviceGetCount_v2": "gpu.count",
    "nvmlDeviceGetHandleByIndex_v2": "",
    "nvmlDeviceGetMemoryInfo": "",
    "nvmlSystemGetDriverVersion": "",
    "nvmlDeviceGetName": "",
    "nvmlDeviceGetCudaComputeCapability": "",
    "nvmlDeviceGetTemperature": "",
}
CUDA_CALLS = {
    "cuInit": (3, 100, 101, 803, 804, 999),
    "cuMemAlloc_v2": (2,),
    "cuModuleLoadDataEx": (218, 222),
    "cuLaunchKernel": (600, 700, 702, 719),
    "cuCtxSynchronize": (719,),
    "cuMemcpyHtoDAsync_v2": (1,),
}


def gpu_faults() -> Iterator[tuple[Case, Change]]:
    """What drivers answer, and what broken cards do: on any profile, so each comes with its change to the machine."""
    for call in NVML_CALLS:
        for fault in (3, 999, "hang", "segv"):
            yield Case(f"{call} {fault}", blames=(UNKNOWN, PLATFORM, IMAGE)), {"faults": {call: fault}}
    for call, codes in CUDA_CALLS.items():
        for code in (*codes, "hang", "segv"):
            kind = {"hang": "HANG", "segv": "SEGV"}.get(str(code), "RC")
            text = call if kind != "RC" else f"{call}={code}"
            # A kernel known to be good fails twice, in two processes; or CUDA finds no card where the driver sees one:
            # the fault of the card or of its driver.
            node = (call in ("cuLaunchKernel", "cuCtxSynchronize") and code in (700, 719)) or code == 100
            check, blames = ("gpu.start", (NODE,)) if node else ("", ())
            yield Case(f"{call} {code}", check, blames, node=node), {"cuda": {kind: text}}


def card_faults() -> Iterator[tuple[Case, Change]]:
    """Cards that are hot, absent, occupied or broken."""
    garbage = {"FREE": str(17179869184 << 30), "TOTAL": str(17179869184 << 30)}
    yield Case("garbage memory"), {"values": garbage}
    yield Case("hot", "gpu.temperature", (NODE,)), {"values": {"TEMP": "97"}}
    yield Case("throttled", "gpu.throttle", (NODE,)), {"values": {"THROTTLE": "0x40"}}
    yield Case("no device", "gpu.count", (NODE,), node=True), {"values": {"COUNT": "0"}}
    yield Case("fell off the bus", "gpu.count", (NODE,), node=True), {"values": {"LOST": "0"}}
    yield Case("memory held by others", "gpu.memory_free", (NODE,), node=True), {"values": {"FREE": str(10 << 20)}}
    yield Case("stuck bit", "gpu.memory_errors", (NODE,), node=True), {"cuda": {"STUCK": "0x1000:0x10"}}
    yield Case("one flip", "gpu.memory_flips", (NODE,)), {"cuda": {"FLIP": "2:0x1234:0x1"}}
    yield Case("wrong results", "gpu.compute_errors", (NODE,), node=True), {"cuda": {"WRONG": "always"}}
    yield Case("slow link", "gpu.h2d", (NODE,)), {"cuda": {"H2D": "0.8e9"}}
    yield Case("damaging link", "gpu.copy_errors", (NODE,), node=True), {"cuda": {"CORRUPT": "h2d"}}


# A second look, in a fresh process, does not find these again.
PASSING: dict[str, dict[str, str]] = {
    "stuck": {"STUCK": "0x1000:0x10"}, "wrong": {"WRONG": "always"}, "damaged": {"CORRUPT": "h2d"},
    "kernel failed": {"RC": "cuLaunchKernel=719"}, "no device": {"RC": "cuInit=100"}, "hung": {"HANG": "cuInit"},
    "died": {"SEGV": "cuInit"}, "slow": {"H2D": "0.5e9"},
}  # fmt: skip
# Through WSL2 the oldest driver does not tell why a card is slow.
UNTOLD = {("throttled", "wsl2-516")}


def on(machine: str, case: Case, change: Change) -> Case:
    """The case on a machine of that profile."""
    name = case.name if machine == USUAL and not case.name[0].islower() else f"{machine}: {case.name}"
    told = {"check": "", "blames": ()} if (case.name, machine) in UNTOLD else {}
    return replace(case, name=name, gpu=profile(machine).but(**change), **told)  # type: ignore[arg-type]


def gpu_cases() -> Iterator[Case]:
    """Each fault once, the profiles in turn; broken cards on the usual machine."""
    names = itertools.cycle(sorted(PROFILES))
    for name in sorted(PROFILES):
        yield Case(f"healthy {name}", gpu=profile(name))
    for case, change in gpu_faults():
        yield on(next(names), case, change)
    for case, change in card_faults():
        yield on("wsl2-572" if case.name == "garbage memory" else USUAL, case, change)
    for (name, cuda), machine in zip(PASSING.items(), names, strict=False):
        yield replace(on(machine, Case(f"{name}, once"), {"cuda": cuda}), first_process_only=True)


def every_gpu_case() -> Iterator[Case]:
    """The whole product: each fault on each profile, lasting and gone when a second process looks."""
    for machine in sorted(PROFILES):
        yield Case(f"healthy {machine}", gpu=profile(machine))
        for case, change in (*gpu_faults(), *card_faults()):
            lasting = on(machine, case, change)
            yield lasting
            if "values" in change:  # the fake driver tells its values to every process
                continue
            once = replace(lasting, name=f"{lasting.name}, once", check="", blames=(), node=False)
            yield replace(once, first_process_only=True)


MACHINES = (None, *sorted(PROFILES))  # None: without a card
TIMES = ("", "twice", "late")


def network_cases(*, whole: bool) -> Iterator[Case]:
    """Faults of the way to the bucket on machines with and without a card: lasting, for the first two requests only,
    and from the ninth on.

    In the short form each fault comes at each time on one machine, so that every machine sees every time; `whole`:
    the product of all three. What is named and blamed must not depend on the card.
    """
    for number, case in enumerate(bucket_cases()):
        for shift, when in enumerate(TIMES):
            if when and (case.network is None or case.network.hang or case.network.bytes_per_s):
                continue
            machines = MACHINES if whole else (MACHINES[(number + 3 * shift) % len(MACHINES)],)
            for machine in machines:
                yield at(when, on_a_machine(machine, case))


def on_a_machine(machine: str | None, case: Case) -> Case:
    """A network fault where the card is as it should be."""
    if machine is None:
        return case
    return replace(case, name=f"{machine}: {case.name}", gpu=profile(machine), on_the_way=True)


def at(when: str, case: Case) -> Case:
    """The same fault at another time: no node may go for it, and it need not be seen."""
    if not when:
        return case
    assert case.network is not None
    network = replace(case.network, after=8) if when == "late" else replace(case.network, times=2)
    return replace(case, name=f"{case.name}, {when}", check="", blames=(), node=False, network=network)


def all_cases(*, whole: bool) -> tuple[Case, ...]:
    """The matrix; `whole`: every fault on every machine at every time, some 2,000 starts."""
    first = (*network_cases(whole=whole), *machine_cases())
    return (*first, *(every_gpu_case() if whole else gpu_cases()))
