"""The user's thresholds: PREFLIGHT_LIMIT_<CHECK>_AT_LEAST and _AT_MOST, turned into a Policy.

All faults are collected; each names its variable and, for an unknown one, the nearest that exists.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

from preflight.checks import Check, all_checks
from preflight.errors import BadSettings
from preflight.model import Blame, Limit, Severity
from preflight.policy import Policy, Rule
from preflight.quantity import parse, version_key

PREFIX = "PREFLIGHT_LIMIT_"
# Variable, default, meaning: the checks' and the ledger's own, for the generated documents.
VARIABLES: tuple[tuple[str, str, str], ...] = (
    ("PREFLIGHT_REALLOCATIONS", "3", "nodes that a replica may hand back in 48 hours; 0 hands none back"),
    ("PREFLIGHT_REPLICAS", "1", "replicas that share this bucket folder's ledger: each brings its own tokens"),
    (
        "PREFLIGHT_POOL_SIZE",
        "",
        "nodes of your hardware class, if you know it: then at most 5 % of them (and 3) in 48 hours",
    ),
    ("PREFLIGHT_GROUP", "", "the name under which nodes share a ledger; the container group's id on Salad"),
    (
        "PREFLIGHT_WARMUP_COMMAND",
        "",
        "a command that warms your application up; its last line is a number (`warmup.result`)",
    ),
    (
        "PREFLIGHT_WARMUP_TIMEOUT_S",
        "10",
        "seconds that it may take, 1 to 1800: the verdict waits for it, twice when a limit is broken",
    ),
    ("PREFLIGHT_SPEEDTEST", "0", "`1`: run the public speed test too (`reference.speedtest`, for information)"),
)
_SIDES = (("_AT_LEAST", "at_least"), ("_AT_MOST", "at_most"))


def variable(name: str, side: str = "at_least") -> str:
    """The variable that sets one side of a check's limit: bucket.upload -> PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST."""
    return f"{PREFIX}{name.upper().replace('.', '_').replace('-', '_')}_{side.upper()}"


def policy_from(environ: Mapping[str, str], checks: Sequence[Check] | None = None) -> Policy:
    """The policy: defaults from the check files, overridden by the environment.

    A limit that the user sets on a check whose fault would be the node's makes breaking it a reason to reject.
    Raises preflight.errors.BadSettings with every fault.
    """
    known = all_checks() if checks is None else tuple(checks)
    problems: list[str] = []
    limits: dict[str, dict[str, float | str]] = {check.name: {} for check in known}
    targets = {variable(check.name, side): (check, side) for check in known for _, side in _SIDES}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name].strip():
            continue
        if name not in targets:
            problems.append(_unknown(name, list(targets)))
            continue
        check, side = targets[name]
        try:
            limits[check.name][side] = _value(environ[name], check.unit)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    replicas = _count(environ, "PREFLIGHT_REPLICAS", 1, problems)
    tokens = _count(environ, "PREFLIGHT_REALLOCATIONS", 3, problems, least=0)
    pool = _count(environ, "PREFLIGHT_POOL_SIZE", 0, problems, least=0)
    rules: dict[str, Rule] = {}
    for check in known:
        rule = _rule(check, limits[check.name])
        if _crossed(rule.limit):
            problems.append(
                f"{variable(check.name)}: it lies above {variable(check.name, 'at_most')}; nothing can pass"
            )
        rules[check.name] = rule
    if problems:
        raise BadSettings(problems)
    return Policy(rules=rules, replicas=replicas, tokens_per_replica=tokens, pool_size=pool or None)


def _rule(check: Check, given: Mapping[str, float | str]) -> Rule:
    limit = check.limit
    if given:
        limit = dataclasses.replace(limit, **given)  # type: ignore[arg-type]
        if check.informs_only or limit.blame is not Blame.NODE:
            limit = dataclasses.replace(limit, severity=Severity.WARN)
        else:
            limit = dataclasses.replace(limit, severity=Severity.REJECT)
    return Rule(check.name, check.unit, limit, check.title, check.network, check.hard, bool(given))


def _value(text: str, unit: str) -> float | str:
    value = parse(text, unit)
    if isinstance(value, float) and value < 0:
        raise ValueError(f"{text!r} is negative")
    return value


def _crossed(limit: Limit) -> bool:
    if limit.at_least is None or limit.at_most is None:
        return False
    if isinstance(limit.at_least, str) or isinstance(limit.at_most, str):
        return version_key(str(limit.at_least)) > version_key(str(limit.at_most))
    return limit.at_least > limit.at_most


def _unknown(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name}: there is no such limit" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _count(environ: Mapping[str, str], name: str, default: int, problems: list[str], *, least: int = 1) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        problems.append(f"{name}: {text!r} is not a whole number of at least {least}")
        return default
    return int(text)
