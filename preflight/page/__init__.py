"""The page for people: one file, no outside assets, everything it shows comes from `/page.json`."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def page() -> bytes:
    """The HTML document."""
    return (Path(__file__).parent / "page.html").read_bytes()
