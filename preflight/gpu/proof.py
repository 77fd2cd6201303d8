"""What the work of one GPU proves against it. Pure: the rules that may cost a node, in one place."""

from __future__ import annotations

from preflight.gpu.fault import proven_fault
from preflight.gpu.worked import START_STAGES, WORK_STAGES, Worked
from preflight.model import Blame


def hard_suspects(worked: Worked) -> list[dict[str, object]]:
    """Memory words that were wrong again after they had been written anew."""
    return [suspect for suspect in _suspects(worked) if suspect["again"]]


def passing_suspects(worked: Worked) -> list[dict[str, object]]:
    """Memory errors that did not repeat."""
    return [suspect for suspect in _suspects(worked) if not suspect["again"]]


def wrong_results(worked: Worked) -> int:
    """Burns with wrong results; a single one may be a passing flip and does not count."""
    told = worked.result("burn") or {}
    looks: list[object] = []
    for key in ("wrong_proofs", "wrong_launches"):
        value = told.get(key)
        looks += value if isinstance(value, list) else []
    wrong = sum(bool(look) for look in looks)
    return wrong if wrong > 1 else 0


def wrong_copies(worked: Worked) -> int:
    """Words that were not the same after a copy."""
    told = worked.result("pipe") or {}
    return sum(value for key in ("wrong_words", "host_wrong_words") if isinstance(value := told.get(key), int))


def proofs(worked: Worked) -> tuple[str, ...]:
    """One sentence for each proof that this GPU is broken; empty when there is none."""
    found = [
        str(failure)
        for failure in worked.failures
        if failure.stage in START_STAGES + WORK_STAGES  # those of NVML have numbers of their own
        and (fault := proven_fault(failure.code)) is not None
        and fault.blame is Blame.NODE
    ]
    found += [f"memory byte {suspect['byte']} is wrong again" for suspect in hard_suspects(worked)[:1]]
    if wrong := wrong_results(worked):
        found.append(f"{wrong} burns gave wrong results")
    if wrong := wrong_copies(worked):
        found.append(f"{wrong} words were wrong after copying")
    return tuple(found)


def _suspects(worked: Worked) -> list[dict[str, object]]:
    suspects = (worked.result("memory_tested") or {}).get("suspects")
    return [entry for entry in suspects if isinstance(entry, dict)] if isinstance(suspects, list) else []
