"""The server half of what JupyterLab shows about the node and the folder."""

from __future__ import annotations

from typing import Any

from preflight.lab.confine import drop_reach


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    return [{"module": "preflight.lab.extension"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Called once by Jupyter, on its main thread, before any kernel or terminal starts."""
    config = serverapp.config.get("PreflightLab", {})
    if config.get("confine", True) and not drop_reach():
        serverapp.log.warning("kernels may read the environment of other processes: capabilities could not be dropped")
