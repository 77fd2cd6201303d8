"""Other views of the network: ICMP echo and a public speed test. They inform and never decide.

ICMP is filtered or delayed on purpose by many networks, and a public speed test fails on a fifth of the nodes and
measures a path that saving does not use. Both are the only uses of their libraries in this repository.
"""

from __future__ import annotations

import io
import statistics

from preflight.bucket_path import remote
from preflight.checks import Check, Context, Lane, NotExpected, Reading
from preflight.endpoint import endpoint_of
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity

ECHOES = 5
ECHO_S = 0.5
SPEEDTEST_VARIABLE = "PREFLIGHT_SPEEDTEST"


def measure_icmp(context: Context) -> Reading:
    """Seconds: median of the echoes that came back, the first one thrown away (it pays for ARP and routes).

    Lost echoes are counted apart (`lost`), never as slow ones. Without the privilege for raw sockets: skipped.
    """
    endpoint = endpoint_of(remote(context))
    if endpoint is None:
        raise NotExpected("only the provider's own library knows the server")
    from pythonping import ping

    try:
        answers = ping(endpoint.host, count=ECHOES, timeout=ECHO_S, out=io.StringIO())
    except PermissionError as error:
        raise NotExpected("ICMP needs a privilege that this container does not have") from error
    except (OSError, RuntimeError) as error:
        raise Unmeasured(f"{endpoint.host} cannot be pinged: {error}") from error
    took = [answer.time_elapsed for answer in answers if answer.success][1:]
    lost = sum(1 for answer in answers if not answer.success)
    if not took:
        raise Unmeasured(f"{lost} of {ECHOES} echoes were lost; many networks drop ICMP")
    return Reading(statistics.median(took), detail={"lost": lost, "sent": ECHOES, "samples": took})


def measure_speedtest(context: Context) -> Reading:
    """Bytes a second of download from the nearest public speed-test server (upload in the details)."""
    if context.environ.get(SPEEDTEST_VARIABLE, "").strip().lower() not in ("1", "yes", "true", "on"):
        raise NotExpected(f"off unless {SPEEDTEST_VARIABLE}=1")
    import speedtest

    try:
        test = speedtest.Speedtest(secure=True, timeout=5)
        test.get_best_server()
        download = test.download() / 8
        upload = test.upload() / 8
    except (speedtest.SpeedtestException, OSError, ValueError) as error:
        raise Unmeasured(f"the public speed test did not work ({type(error).__name__})") from error
    if not download:
        raise Unmeasured("the public speed test moved nothing")
    return Reading(download, detail={"upload": upload, "server": str(test.best.get("host", ""))})


CHECKS = (
    Check(
        name="reference.icmp",
        title="ICMP echo of the bucket's host",
        unit="s",
        lane=Lane.REFERENCE,
        deadline_s=4.0,
        measure=measure_icmp,
        informs_only=True,
        why="A second opinion on the round trip, for people. `bucket.latency` is what counts.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.UNKNOWN,
            advice="compare with bucket.latency",
            why="It never decides: a node whose three echoes were lost was once thrown away and would have run for "
            "69 hours without a fault.",
        ),
    ),
    Check(
        name="reference.speedtest",
        title="Public speed test",
        unit="B/s",
        lane=Lane.REFERENCE,
        deadline_s=15.0,
        measure=measure_speedtest,
        informs_only=True,
        why="For comparison with other people's figures. `bucket.upload` and `bucket.download` are what counts.",
        limit=Limit(
            severity=Severity.NOTE,
            blame=Blame.UNKNOWN,
            advice="compare with bucket.download",
            why="It never decides: it fails on 20 % of the nodes and reads a third of the real upload on the others.",
        ),
    ),
)
