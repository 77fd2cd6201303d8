"""Settle a conflict: keep one of two versions. The other goes the way of every delete, into the bucket's trash."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from preflight.lab.whole import sync_folder


def settle(data_dir: Path, known: Iterable[Mapping[str, object]], path: str, copy: str, keep: str) -> str:
    """Keep "path" or "copy" of a conflict that the sync knows; "" or why it was not done."""
    if not any(one.get("path") == path and one.get("copy") == copy for one in known):
        return "the sync knows of no such conflict"
    first, second = data_dir / path, data_dir / copy
    try:
        if keep == "copy":
            os.replace(second, first)
        elif keep == "path":
            second.unlink()
        else:
            return "keep which?"
    except OSError as failed:
        return f"{failed.strerror or failed}"
    sync_folder(first.parent)
    return ""
