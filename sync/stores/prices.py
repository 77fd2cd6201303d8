"""What requests cost by the providers' list prices: an estimate for people, never a bill.

USD for standard storage in the cheapest region, before free tiers; those in CNY at 7.2 CNY a USD. They are what the
authors knew when writing (docs/clouds/costs.md) and change: the provider's page decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CNY = 1 / 7.2  # USD
GB = 1e9
WRITES = frozenset(("put", "copy", "part", "start", "finish", "list", "list_parts"))
READS = frozenset(("get", "head"))  # deletes and aborted uploads are free everywhere


@dataclass(frozen=True, slots=True)
class Price:
    """USD for 1,000 writes, 1,000 reads, and one GB (10^9 bytes) out of the bucket."""

    writes: float
    reads: float
    gb_out: float


LIST_PRICES: Mapping[str, Price] = {
    "aws": Price(0.005, 0.0004, 0.09),
    "azure": Price(0.005, 0.0004, 0.087),
    "gcs": Price(0.005, 0.0004, 0.12),
    "gcs-xml": Price(0.005, 0.0004, 0.12),
    "r2": Price(0.0045, 0.00036, 0.0),
    "b2": Price(0.0, 0.0004, 0.01),
    "wasabi": Price(0.0, 0.0, 0.0),
    "oss": Price(0.001 * CNY, 0.001 * CNY, 0.50 * CNY),
    "obs": Price(0.001 * CNY, 0.001 * CNY, 0.50 * CNY),
    "cos": Price(0.001 * CNY, 0.001 * CNY, 0.50 * CNY),
}


def estimate(provider: str, requests: Mapping[str, int], received_bytes: int) -> dict[str, float]:
    """USD by verb, and for what came out of the bucket as "traffic"; empty where nobody knows a price."""
    price = LIST_PRICES.get(provider)
    if price is None:
        return {}
    costs = {"traffic": price.gb_out * received_bytes / GB}
    for verb, count in requests.items():
        each = price.writes if verb in WRITES else price.reads if verb in READS else 0.0
        costs[verb] = each * count / 1000
    return costs
