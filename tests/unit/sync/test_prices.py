"""Requests and traffic as money: by verb, at the prices that the page states, and nothing where nobody knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sync.status import Status
from sync.stores import Meter
from sync.stores.prices import CNY, LIST_PRICES, READS, WRITES, estimate
from sync.stores.profiles import PROFILES
from tests.support.rig import Rig

NAMES = {
    "AWS S3 Standard": "aws",
    "Azure Blob hot, LRS": "azure",
    "Google Standard": "gcs",
    "Cloudflare R2": "r2",
    "Aliyun OSS": "oss",
    "Huawei OBS": "obs",
    "Tencent COS": "cos",
}


def test_request_and_cost_accounting_by_verb() -> None:
    costs = estimate("aws", {"put": 2000, "get": 5000, "delete": 9}, 10**9)
    assert costs == pytest.approx({"put": 0.01, "get": 0.002, "delete": 0.0, "traffic": 0.09})
    assert estimate("file", {"put": 1}, 1) == {}


def test_the_page_and_the_table_say_the_same(repository: Path) -> None:
    page = (repository / "docs" / "clouds" / "costs.md").read_text()
    stated: dict[str, tuple[float, ...]] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] in NAMES:
            rate = CNY if "CNY" in cells[5] else 1.0
            stated[NAMES[cells[0]]] = tuple(float(cells[n]) * rate for n in (1, 2, 4))
    assert len(stated) == len(NAMES)
    for provider, figures in stated.items():
        price = LIST_PRICES[provider]
        assert (price.writes, price.reads, price.gb_out) == pytest.approx(figures), provider


def test_every_verb_that_is_counted_has_a_price_class(repository: Path) -> None:
    counted: set[str] = set()
    for path in (repository / "sync" / "stores").glob("*.py"):
        counted |= set(re.findall(r"\.count\(\"(\w+)\"", path.read_text()))
    assert counted - WRITES - READS == {"delete", "abort"}
    assert {profile.name for profile in PROFILES} - LIST_PRICES.keys() == {"s3", "minio"}


def test_the_status_says_what_it_cost(tmp_path: Path) -> None:
    rig = Rig(tmp_path, facts={"provider": "aws"})
    rig.write("a", "a")
    rig.sync()
    status = rig.status()
    assert status.cost_usd["put"] == pytest.approx(0.005 * status.requests["put"] / 1000)
    assert isinstance(rig.store.meter, Meter)


def test_a_long_list_of_problems_says_how_many_there_are(tmp_path: Path) -> None:
    from sync.cli import _status_lines

    rig = Rig(tmp_path)
    rig.sync()
    rig.engine.problems.update({f"f{n:03}": "cannot be saved" for n in range(130)})
    status: Status = rig.status()
    assert (len(status.problems), status.problems_count) == (100, 130)
    assert any("and 30 problems more" in line for line in _status_lines(status, is_stale=False))
