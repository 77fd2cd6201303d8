"""The Python API's page names everything that is public, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import preflight


def test_every_public_name_is_documented(repository: Path) -> None:
    page = (repository / "docs" / "python-api.md").read_text()
    assert set(re.findall(r"`preflight\.(\w+)\(", page)) | {"NotRunning", "Verdicts"} == set(preflight.__all__)
    assert all(callable(getattr(preflight, name)) for name in preflight.__all__)
