"""What is repaired for the notebook instead of handing a node back. Pure, apart from reading the image's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.image import manifest_path, read_image, without_compat

_CHECK = "gpu.forward_compat"


def repaired(environ: Mapping[str, str], report: Mapping[str, Any] | None) -> dict[str, str]:
    """The environment for JupyterLab after a report: without forward-compatibility libraries where the check on them
    found that this GPU refuses them (error 804), otherwise as it is."""
    kept = dict(environ)
    checks = (report or {}).get("checks", ())
    if any(check.get("name") == _CHECK and check.get("status") in ("warn", "fail") for check in checks):
        kept["LD_LIBRARY_PATH"] = without_compat(read_image(manifest_path(environ)), environ.get("LD_LIBRARY_PATH", ""))
    return kept
