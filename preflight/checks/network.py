"""The way to the bucket, step by step: name, connection, TLS, first byte; and the clock that signatures need.

The first step that fails names the fault. None of them is the node's until a limit of the user's says so.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import statistics
from email.utils import parsedate_to_datetime

from preflight.bucket_path import PATIENCE_S, remote
from preflight.checks import Broken, Check, Context, Lane, NotExpected, Reading
from preflight.endpoint import Endpoint, endpoint_of
from preflight.errors import Unmeasured
from preflight.model import Blame, Limit, Severity

CONNECTS = 7  # the least of seven is robust against queues on the way; the median shows them
CONNECT_S = 2.0
Addresses = list[tuple[int, tuple[object, ...]]]


def measure_dns(context: Context) -> Reading:
    """Seconds to resolve the bucket's host name, the system's resolver and its cache included."""
    endpoint = _endpoint(context)
    started = context.clock.monotonic()
    addresses = _addresses(context, endpoint)
    took_s = context.clock.monotonic() - started
    families = sorted({"IPv6" if family == socket.AF_INET6 else "IPv4" for family, _ in addresses})
    return Reading(
        took_s, detail={"host": endpoint.host, "addresses": len(addresses), "families": " and ".join(families)}
    )


def measure_latency(context: Context) -> Reading:
    """Seconds: the least of seven TCP connects to the bucket's server (one round trip each).

    A refused connection proves the endpoint broken; silence proves nothing (a lost packet, a firewall).
    """
    endpoint = _endpoint(context)
    addresses = _addresses(context, endpoint)
    took: list[float] = []
    refused = silent = 0
    chosen = addresses[0]
    for number in range(CONNECTS):
        family, address = chosen if took else addresses[number % len(addresses)]
        started = context.clock.monotonic()
        try:
            _connect(family, address, CONNECT_S).close()
        except TimeoutError:
            silent += 1
            if silent >= 2 and not took:
                break
            continue
        except OSError:
            refused += 1
            continue
        took.append(context.clock.monotonic() - started)
        chosen = (family, address)  # the family that works carries the rest
    if not took:
        if refused:
            raise Broken(
                f"{endpoint.address} refuses connections",
                blame=Blame.ENDPOINT,
                advice="the storage service is down or the endpoint is wrong; saving goes on trying",
            )
        raise Unmeasured(f"{endpoint.address} did not answer within {CONNECT_S:.0f} s")
    detail = {"samples": took, "median": statistics.median(took), "lost": silent, "refused": refused}
    return Reading(min(took), detail={**detail, "endpoint": endpoint.address})


def measure_tls(context: Context) -> Reading:
    """Seconds for the TLS handshake, certificate checked. Raises Broken for one that is not to be trusted."""
    endpoint = _endpoint(context)
    if not endpoint.tls:
        raise NotExpected("the endpoint speaks plain HTTP")
    with _open(context, endpoint) as plain:
        started = context.clock.monotonic()
        try:
            with ssl.create_default_context().wrap_socket(plain, server_hostname=endpoint.host) as secure:
                took_s = context.clock.monotonic() - started
                return Reading(took_s, detail={"version": secure.version() or ""})
        except ssl.SSLCertVerificationError as error:
            raise Broken(
                f"the certificate of {endpoint.host} is not to be trusted: {error.verify_message}",
                blame=Blame.ENDPOINT,
                advice="something between here and the bucket answers in its place (a captive portal, a proxy), "
                "or this machine's clock or certificates are wrong",
            ) from error
        except OSError as error:
            raise Unmeasured(f"the TLS handshake with {endpoint.address} failed: {_words(error)}") from error


def measure_first_byte(context: Context) -> Reading:
    """Seconds from sending an unsigned GET to the first byte of any answer, a refusal included."""
    seen = context.shared.once("http answer", lambda: _answer(context), patience_s=PATIENCE_S)
    return Reading(seen[0], detail={"status": seen[1], "server": seen[3]})


def measure_clock(context: Context) -> Reading:
    """Seconds between this machine's clock and the Date that the bucket's server states, less half the round trip.

    S3 and its kin refuse signatures that are 900 s off; Windows machines lose time while they sleep.
    """
    try:
        took_s, _, date, _ = context.shared.once("http answer", lambda: _answer(context), patience_s=PATIENCE_S)
    except Broken as error:
        raise Unmeasured(f"the bucket's server tells no time: {error.why}") from error
    if not date:
        raise Unmeasured("the server states no date")
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError) as error:
        raise Unmeasured(f"the server's date cannot be understood: {date[:40]!r}") from error
    # The header is cut to whole seconds: half a second is its expected error.
    offset_s = context.clock.now() - took_s / 2 - (theirs + 0.5)
    return Reading(max(abs(offset_s) - 0.5, 0.0), detail={"offset_s": round(offset_s, 2)})


def _endpoint(context: Context) -> Endpoint:
    endpoint = endpoint_of(remote(context))
    if endpoint is None:
        raise NotExpected("only the provider's own library knows the server")
    return endpoint


def _addresses(context: Context, endpoint: Endpoint) -> Addresses:
    def resolve() -> Addresses:
        try:
            found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Unmeasured(f"the name server does not answer for {endpoint.host}") from error
            raise Broken(
                f"there is no host named {endpoint.host}",
                blame=Blame.ACCOUNT,
                advice="check the endpoint's spelling and the region",
            ) from error
        except (UnicodeError, OSError) as error:
            raise Broken(f"{endpoint.host!r} is not a host name", blame=Blame.ACCOUNT) from error
        return [(int(family), address) for family, _, _, _, address in found]

    return context.shared.once(f"addresses {endpoint.host}", resolve, patience_s=PATIENCE_S)


def _connect(family: int, address: tuple[object, ...], timeout_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _open(context: Context, endpoint: Endpoint) -> socket.socket:
    error: OSError | None = None
    for family, address in _addresses(context, endpoint)[:4]:
        try:
            return _connect(family, address, CONNECT_S)
        except OSError as raised:
            error = raised
    raise Unmeasured(f"{endpoint.address} cannot be reached: {_words(error)}") from error


def _answer(context: Context) -> tuple[float, int, str, str]:
    """Seconds to the first byte, status, Date and Server of an unsigned GET. Never follows, never reads a body."""
    endpoint = _endpoint(context)
    with _open(context, endpoint) as plain:
        try:
            sock = (
                ssl.create_default_context().wrap_socket(plain, server_hostname=endpoint.host)
                if endpoint.tls
                else plain
            )
            with sock:
                request = (
                    f"GET / HTTP/1.1\r\nHost: {endpoint.host}\r\nUser-Agent: preflight\r\nConnection: close\r\n\r\n"
                )
                started = context.clock.monotonic()
                sock.sendall(request.encode("ascii", "replace"))
                answer = http.client.HTTPResponse(sock)
                answer.begin()
                took_s = context.clock.monotonic() - started
                found = (took_s, answer.status, answer.getheader("Date") or "", answer.getheader("Server") or "")
                answer.close()
                return found
        except TimeoutError as error:
            raise Unmeasured(f"{endpoint.address} did not answer within {CONNECT_S:.0f} s") from error
        except http.client.RemoteDisconnected as error:
            raise Broken(
                f"{endpoint.address} closes connections without an answer",
                blame=Blame.ENDPOINT,
                advice="the storage service or a proxy before it is sick; saving goes on trying",
            ) from error
        except http.client.HTTPException as error:
            raise Broken(
                f"{endpoint.address} does not speak HTTP",
                blame=Blame.ENDPOINT,
                advice="check the endpoint: scheme (http or https) and port",
            ) from error
        except OSError as error:
            raise Unmeasured(f"{endpoint.address} did not answer: {_words(error)}") from error


def _words(error: OSError | None) -> str:
    if error is None:
        return "no address"
    return error.strerror or str(error) or type(error).__name__


_NEAR = "choose a bucket nearer to the node, or a node nearer to the bucket (country codes)"

CHECKS = (
    Check(
        name="bucket.dns",
        title="Bucket: name found",
        unit="s",
        lane=Lane.NETWORK,
        deadline_s=4.0,
        measure=measure_dns,
        network=True,
        why="Everything on the way to the bucket starts with its name.",
        limit=Limit(
            at_most=2.0,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice="the node's name server is slow; the first request of every connection waits for it",
            why="Resolvers answer in some 10-100 ms; 2 s is several lost queries in a row. It passes: a warning.",
        ),
    ),
    Check(
        name="bucket.latency",
        title="Bucket: round trip",
        unit="s",
        lane=Lane.NETWORK,
        deadline_s=6.0,
        measure=measure_latency,
        network=True,
        every_s=60.0,
        why="Every save waits for at least one round trip. The least of seven connects: queues do not count.",
        limit=Limit(
            at_most=0.4,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice=_NEAR,
            why="A tenth of the recorded nodes lie more than 200 ms from a US bucket, which is light half round the "
            "globe in fibre; twice that is a sick path. A far bucket works, so by default it only warns.",
        ),
    ),
    Check(
        name="bucket.tls",
        title="Bucket: TLS handshake",
        unit="s",
        lane=Lane.NETWORK,
        deadline_s=5.0,
        measure=measure_tls,
        network=True,
        why="A captive portal or an intercepting proxy shows here, and a clock that is years off.",
        limit=Limit(
            at_most=2.0,
            severity=Severity.WARN,
            blame=Blame.NODE,
            advice=_NEAR,
            why="Two round trips and some computing: 2 s is beyond any healthy path.",
        ),
    ),
    Check(
        name="bucket.first_byte",
        title="Bucket: first byte",
        unit="s",
        lane=Lane.NETWORK,
        deadline_s=7.0,
        measure=measure_first_byte,
        network=True,
        why="Whether an HTTP server answers there at all, and how long it thinks.",
        limit=Limit(
            at_most=2.0,
            severity=Severity.WARN,
            blame=Blame.ENDPOINT,
            advice="the storage service is slow: look at its status page",
            why="One round trip and the server's work on a refusal; 2 s is a sick service, whatever node asks.",
        ),
    ),
    Check(
        name="host.clock",
        title="Clock, against the bucket's",
        unit="s",
        lane=Lane.NETWORK,
        deadline_s=7.0,
        measure=measure_clock,
        network=True,
        every_s=600.0,
        why="Signatures carry the time: a machine that is 15 minutes off is refused by every bucket.",
        limit=Limit(
            at_most=30.0,
            severity=Severity.WARN,
            blame=Blame.PLATFORM,
            advice="restart the container to set the clock again; saving works until it is 15 minutes off",
            why="Signatures hold until 900 s; 30 s is far from that and far from what any synchronised clock shows.",
        ),
    ),
)
