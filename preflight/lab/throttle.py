"""How often one address may try a password. Pure but for the clock it is given."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from sync.clock import Clock

BURST = 6  # people mistype
REFILL_S = 10.0  # then 8,640 guesses a day: a random password of 18 bytes does not care, "data" falls at once
MOST_CLIENTS = 4096


class Throttle:
    """A bucket of failures an address. IPv6 counts by /64: one machine owns that many addresses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (tokens spent, at)

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        return max(0.0, (self._level(client_of(address)) - (BURST - 1)) * REFILL_S)

    def failed(self, address: str) -> None:
        """Count one wrong password."""
        client = client_of(address)
        self._spent[client] = (self._level(client) + 1.0, self._clock.monotonic())
        self._spent.move_to_end(client)
        while len(self._spent) > MOST_CLIENTS:
            self._spent.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address that knew the password."""
        self._spent.pop(client_of(address), None)

    def _level(self, client: str) -> float:
        spent, at = self._spent.get(client, (0.0, 0.0))
        return max(0.0, spent - (self._clock.monotonic() - at) / REFILL_S)


def client_of(address: str) -> str:
    """What counts as one client."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
