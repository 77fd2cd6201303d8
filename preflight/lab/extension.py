"""The server half of what JupyterLab shows about the node and the folder."""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    return [{"module": "preflight.lab.extension"}]


def _load_jupyter_server_extension(serverapp: object) -> None:
    """Called once by Jupyter when the server is set up."""
