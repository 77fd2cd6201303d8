"""The last report of this node as a file: `preflight report`, notebooks and the supervisor read or replace it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def report_path(state_dir: Path) -> Path:
    """Where it is kept."""
    return state_dir / "preflight" / "report.json"


def keep_report(document: Mapping[str, Any], state_dir: Path) -> None:
    """Replace it whole: nobody reads half of one. Raises OSError."""
    path = report_path(state_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name("report.json.tmp")
    temp.write_text(json.dumps(document, allow_nan=False))
    os.replace(temp, path)
