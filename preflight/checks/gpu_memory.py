"""The GPU's memory: how much of it is really the card's, and whether it keeps what is written.

Read from the same child as the rest of the GPU's work. Only a word that is wrong again rejects a node; a passing
flip happens on most consumer cards.
"""

from __future__ import annotations

from collections.abc import Mapping

from preflight.checks import Check, Context, Reading
from preflight.errors import Unmeasured
from preflight.gpu.promise import promised_memory_bytes_per_s
from preflight.gpu.proof import hard_suspects, passing_suspects
from preflight.gpu.round import gpu_check, number, result
from preflight.gpu.worked import Worked
from preflight.model import Limit, Severity


def _tests(context: Context) -> tuple[Worked, Mapping[str, object]]:
    done, told = result(context, "memory_tested")
    if not told["tested_bytes"]:
        raise Unmeasured("none of the GPU's memory could be tested")
    return done, told


def _memory_errors(context: Context) -> Reading:
    done, told = _tests(context)
    hard = hard_suspects(done)
    detail = {key: told[key] for key in ("tested_bytes", "patterns", "took_s")} | {"stuck": hard}
    advice = "; ".join(_where(suspect) for suspect in hard[:1])
    return Reading(float(len({suspect["word"] for suspect in hard})), detail, advice=advice)


def _where(suspect: Mapping[str, object]) -> str:
    bits = f"bits {suspect['bits_stuck_at_1']} stuck at 1, {suspect['bits_stuck_at_0']} at 0"
    where = f"byte {suspect['byte']} of the tested part, device address {suspect['address']:#x}"
    return f"this GPU's memory is broken ({where}): {bits}"


def _flips(context: Context) -> Reading:
    done, told = _tests(context)
    flips = passing_suspects(done)
    return Reading(float(len(flips)), {"tested_bytes": told["tested_bytes"], "flips": flips})


def _tested(context: Context) -> Reading:
    done, told = result(context, "memory_tested")
    free = number(done.result("memory_taken") or {}, "free_bytes")
    detail = {key: told[key] for key in ("tested_bytes", "patterns", "of_patterns", "took_s")}
    return Reading(round(number(told, "tested_bytes") / free, 4), detail)


def _resident(context: Context) -> Reading:
    _, told = result(context, "memory_resident")
    return Reading(number(told, "resident_bytes"), dict(told))


def _resident_share(context: Context) -> Reading:
    done, told = result(context, "memory_resident")
    taken = number(done.result("memory_taken") or {}, "taken_bytes")
    if not taken:
        raise Unmeasured("no GPU memory could be taken")
    return Reading(round(number(told, "resident_bytes") / taken, 4), dict(told))


def _memory_speed(context: Context) -> Reading:
    done, told = result(context, "memory_resident")
    promised = promised_memory_bytes_per_s(done.device)
    return Reading(number(told, "fill_bytes_per_s"), {"promised": promised})


CHECKS: tuple[Check, ...] = (
    gpu_check(
        "gpu.memory_errors",
        "GPU memory: stuck words",
        "count",
        _memory_errors,
        Limit(
            at_most=0.0,
            severity=Severity.REJECT,
            advice="this GPU's memory is broken",
            why="the same word wrong twice, written anew in between, and again in a second process",
        ),
        "Patterns over at least 90 % of the free memory; the first wrong word and its bits are told.",
        hard=True,
    ),
    gpu_check(
        "gpu.memory_flips",
        "GPU memory: passing flips",
        "count",
        _flips,
        Limit(
            at_most=0.0,
            severity=Severity.WARN,
            advice="save often: this GPU's memory flipped a bit once",
            why="two thirds of 20,000 consumer cards showed some; rejecting them would reject most cards",
        ),
        "Passing errors happen on most consumer cards; recorded, because many of them are a sign.",
    ),
    gpu_check(
        "gpu.memory_tested",
        "GPU memory tested",
        "ratio",
        _tested,
        Limit(at_least=0.6, severity=Severity.NOTE, why="0.9 is taken; what spilled to the host is not tested"),
        "Tells how far the memory test reached.",
    ),
    gpu_check(
        "gpu.memory_resident",
        "GPU memory on the card",
        "B",
        _resident,
        Limit(
            severity=Severity.REJECT, advice="less of the card's memory is usable than you asked for", why="no default"
        ),
        "WSL2 grants memory beyond the card's and keeps it in the host's; what is ten times slower is not counted.",
    ),
    gpu_check(
        "gpu.resident_share",
        "GPU memory not spilled",
        "ratio",
        _resident_share,
        Limit(
            at_least=0.7,
            severity=Severity.WARN,
            advice="work that uses more than the resident part becomes ten times slower",
            why="WSL2 keeps about 2 GB of what it calls free: 0.75 on an 8 GB card",
        ),
        "An allocation that succeeds proves nothing on WSL2.",
    ),
    gpu_check(
        "gpu.memory_speed",
        "GPU memory speed",
        "B/s",
        _memory_speed,
        Limit(
            at_least=30e9, severity=Severity.WARN, advice="this GPU's memory is slow", why="a 2016 laptop card has 80"
        ),
        "The median chunk's fill speed.",
    ),
)
