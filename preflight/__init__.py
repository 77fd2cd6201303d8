"""Checks a rented node before JupyterLab opens, and tells what it knows to notebooks.

The public Python API is below; everything else may change without notice. It is loaded on first use: the package
itself stays cheap to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preflight.public import (
        NotRunning,
        Verdicts,
        benchmark,
        bring_back,
        check,
        conflicts,
        fleet_history,
        flush,
        gpu_now,
        observed,
        report,
        sync_status,
        trash,
        would_fail,
        write_whole,
    )
    from preflight.reporting import report_metric

__all__ = [
    "NotRunning",
    "Verdicts",
    "benchmark",
    "bring_back",
    "check",
    "conflicts",
    "fleet_history",
    "flush",
    "gpu_now",
    "observed",
    "report",
    "report_metric",
    "sync_status",
    "trash",
    "would_fail",
    "write_whole",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "report_metric":  # standard library only: training code may call it in its first line
        from preflight.reporting import report_metric

        return report_metric
    if name in __all__:
        from preflight import public

        return getattr(public, name)
    raise AttributeError(f"module 'preflight' has no attribute {name!r}")
