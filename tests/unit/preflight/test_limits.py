"""The user's thresholds: right ones become rules, wrong ones are all named at once."""

from __future__ import annotations

import pytest

from preflight.checks import Check, Lane, all_checks
from preflight.errors import BadSettings
from preflight.limits import policy_from, variable
from preflight.model import Blame, Limit, Severity
from preflight.quantity import parse, show

CHECKS = (
    Check("bucket.upload", "Upload", "B/s", Lane.BUCKET, lambda _: 1.0, Limit(severity=Severity.NOTE)),
    Check("host.shm", "shm", "B", Lane.HOST, lambda _: 1.0, Limit(at_least=64.0, blame=Blame.ACCOUNT)),
    Check("gpu.cuda", "CUDA", "version", Lane.GPU, lambda _: "12.8", Limit()),
    Check("reference.icmp", "ICMP", "s", Lane.REFERENCE, lambda _: 1.0, Limit(), informs_only=True),
)


def test_a_users_limit_on_the_node_rejects() -> None:
    rule = policy_from({"PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST": "20Mbps"}, CHECKS).rules["bucket.upload"]
    assert (rule.limit.at_least, rule.limit.severity, rule.from_user) == (2.5e6, Severity.REJECT, True)


def test_a_users_limit_on_what_the_node_is_not_to_blame_for_warns() -> None:
    environ = {"PREFLIGHT_LIMIT_HOST_SHM_AT_LEAST": "8GiB", "PREFLIGHT_LIMIT_REFERENCE_ICMP_AT_MOST": "80ms"}
    rules = policy_from(environ, CHECKS).rules
    assert rules["host.shm"].limit.severity is Severity.WARN
    assert rules["reference.icmp"].limit.severity is Severity.WARN
    assert rules["reference.icmp"].limit.at_most == pytest.approx(0.08)


def test_defaults_stay_where_nothing_is_set() -> None:
    rules = policy_from({"PREFLIGHT_LIMIT_HOST_SHM_AT_LEAST": "  "}, CHECKS).rules
    assert rules["host.shm"].limit == CHECKS[1].limit


def test_every_fault_is_named_with_its_variable_and_the_nearest_name() -> None:
    environ = {
        "PREFLIGHT_LIMIT_BUCKET_UPLOD_AT_LEAST": "1",
        "PREFLIGHT_LIMIT_HOST_SHM_AT_LEAST": "much",
        "PREFLIGHT_LIMIT_GPU_CUDA_AT_LEAST": "twelve",
        "PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST": "-3",
        "PREFLIGHT_REPLICAS": "0",
        "PREFLIGHT_POOL_SIZE": "many",
    }
    with pytest.raises(BadSettings) as raised:
        policy_from(environ, CHECKS)
    problems = raised.value.problems
    assert len(problems) == len(environ)
    for name in environ:
        assert any(problem.startswith(f"{name}:") for problem in problems)
    assert any("did you mean PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST?" in problem for problem in problems)


def test_bounds_that_nothing_can_pass_are_a_fault() -> None:
    environ = {"PREFLIGHT_LIMIT_HOST_SHM_AT_LEAST": "2GB", "PREFLIGHT_LIMIT_HOST_SHM_AT_MOST": "1GB"}
    with pytest.raises(BadSettings, match="nothing can pass"):
        policy_from(environ, CHECKS)


def test_every_real_check_can_be_limited_by_its_own_variable() -> None:
    names = [variable(check.name) for check in all_checks()]
    assert len(set(names)) == len(names)
    assert variable("bucket.upload") == "PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST"


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("20Mbps", "B/s", 2.5e6), ("2.5 MB/s", "B/s", 2.5e6), ("1000", "B/s", 1000.0), ("1Gbit/s", "B/s", 125e6),
        ("8GiB", "B", 8 * 2.0**30), ("8GB", "B", 8e9), ("1e9", "B", 1e9), ("80ms", "s", 0.08), ("2min", "s", 120.0),
        ("90%", "ratio", 0.9), (".5", "ratio", 0.5), ("85", "degC", 85.0), ("12.10", "version", "12.10"),
        ("3", "count", 3.0), ("2GHz", "Hz", 2e9),
    ],
)  # fmt: skip
def test_parse(text: str, unit: str, value: float | str) -> None:
    assert parse(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [("", "B"), ("GB", "B"), ("1 parsec", "s"), ("20Mbps", "B"), ("1e999", "B"), ("nan", "s"), ("12.x", "version")],
)
def test_parse_refuses(text: str, unit: str) -> None:
    with pytest.raises(ValueError):
        parse(text, unit)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0421, "s", "42.1 ms"), (12.0, "s", "12 s"), (0.0, "s", "0 s"), (2.5e6, "B/s", "2.5 MB/s"),
        (81.6e9, "B", "81.6 GB"), (0.953, "ratio", "95.3 %"), (1234.0, "count", "1234"), (None, "s", "-"),
        ("570.86", "version", "570.86"), (0.00001, "s", "0.01 ms"), (999.6, "B", "1000 B"),
    ],
)  # fmt: skip
def test_show(value: float | str | None, unit: str, text: str) -> None:
    assert show(value, unit) == text
