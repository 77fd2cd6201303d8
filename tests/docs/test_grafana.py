"""What is scraped holds to both formats, strictly read; dashboard and alerts ask only for series that exist.

`promtool`, from Debian's `prometheus`, judges the metrics and the alerts.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from preflight.metrics import exposition
from tests.support.page_states import boards

SERIES = re.compile(r"\b((?:preflight|sync)_[a-z0-9_]+)\b")
# Series of readings that this machine has no hardware for, and of events that did not happen.
ELSEWHERE = {
    "preflight_gpu_temperature_celsius",
    "preflight_memory_free_bytes",
    "preflight_disk_free_bytes",
}


def promtool(repository: Path, *words: str, stdin: str = "") -> None:
    """Prometheus' own check."""
    tool = repository / "tests" / "servers" / "bin" / "promtool"
    done = subprocess.run([tool, *words], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The exposition of every state, as Prometheus text and as OpenMetrics."""
    made = {}
    for name, board in boards(tmp_path_factory.mktemp("boards")).items():
        render = exposition(board)
        made[name] = render("")[1].decode()
        made[f"{name} (open)"] = render("application/openmetrics-text; version=1.0.0")[1].decode()
    return made


def named(texts: dict[str, str]) -> set[str]:
    """Every series and every declared metric of any state."""
    found: set[str] = set()
    for name, text in texts.items():
        if "(open)" not in name:
            for family in text_string_to_metric_families(text):
                found |= {family.name, f"{family.name}_total"} | {sample.name for sample in family.samples}
    return found


def test_every_state_can_be_scraped(repository: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        if "(open)" in name:
            assert list(open_families(text))  # raises for a wrong order, unit, name, number, or without its # EOF
        else:
            assert list(text_string_to_metric_families(text))
            promtool(repository, "check", "metrics", stdin=text)


def test_metrics_are_named_as_prometheus_asks(texts: dict[str, str]) -> None:
    """What `promtool check metrics` complains about: no help, a stray `_total`, odd units, doubles."""
    for name, text in texts.items():
        if "(open)" in name:
            continue
        families = list(text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families), name
        for family in families:
            assert family.documentation, family.name
            counts = any(sample.name.endswith("_total") for sample in family.samples)
            assert not family.samples or counts == (family.type == "counter"), (family.name, family.type)
            assert not re.search(r"_(milliseconds|ms|minutes|kilobytes|megabytes|mb|gb|percent)(_|$)", family.name)
            labels = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
            assert len(set(labels)) == len(labels), family.name


def test_every_alert_says_what_happened(repository: Path) -> None:
    path = repository / "docs" / "grafana" / "alerts.yml"
    promtool(repository, "check", "rules", str(path))
    rules = re.split(r"^ *- alert: ", path.read_text(), flags=re.MULTILINE)[1:]
    assert rules
    for rule in rules:
        assert re.search(r"^ +summary: .{10,}$", rule, re.MULTILINE), rule


def test_the_dashboard_asks_for_what_exists(repository: Path, texts: dict[str, str]) -> None:
    dashboard = json.loads((repository / "docs" / "grafana" / "preflight-lab.json").read_text())
    asked = {name for panel in dashboard["panels"] for one in panel["targets"] for name in SERIES.findall(one["expr"])}
    assert asked - named(texts) - ELSEWHERE == set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_alerts_ask_for_what_exists(repository: Path, texts: dict[str, str]) -> None:
    path = repository / "docs" / "grafana" / "alerts.yml"
    asked = {name for line in path.read_text().splitlines() if "expr:" in line for name in SERIES.findall(line)}
    assert asked
    assert asked - named(texts) - ELSEWHERE == set()


def test_the_lag_grows_while_sync_is_silent(tmp_path: Path) -> None:
    board = boards(tmp_path)["offline"]
    families = {family.name: family for family in text_string_to_metric_families(exposition(board)("")[1].decode())}
    assert families["sync_lag_seconds"].samples[0].value >= 340.0
    assert families["sync_pending_files"].samples[0].value == 3.0


def test_no_series_holds_a_secret_or_a_file_name(texts: dict[str, str]) -> None:
    for text in texts.values():
        assert ".ipynb" not in text
        assert "password" not in text.lower()
