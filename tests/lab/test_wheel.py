"""The wheel holds what runs and what the page loads, and nothing of how it was made."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
MOST_IN_THE_PAGE_BYTES = 150_000
NEVER = ("node_modules", ".env", ".pem", ".key", "credentials", "/ui/", ".ts", "tests/", "shared/", "package-lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> zipfile.Path:
    """Built by the project's own build, offline."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=repository, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return zipfile.Path(next(folder.glob("*.whl")))


def names(wheel: zipfile.Path) -> list[str]:
    return wheel.root.namelist()


def test_everything_that_runs_is_there(wheel: zipfile.Path, repository: Path) -> None:
    found = set(names(wheel))
    code = {
        path.relative_to(repository).as_posix()
        for package in ("preflight", "sync")
        for path in (repository / package).rglob("*.py")
        if "ui" not in path.relative_to(repository).parts
    }
    assert code - found == set()
    shipped = {
        f"preflight/lab/notebooks/{path.name}" for path in (repository / "notebooks").iterdir() if path.is_file()
    }
    assert shipped - found == set()
    assert len([name for name in shipped if name.endswith(".ipynb")]) == 7
    parts = {
        "preflight/page/page.html",
        "preflight/lab/schemas/status.v1.json",
        "preflight/evidence.schema.json",
        "preflight/gpu/kernels.ptx",
        "preflight/py.typed",
        "sync/py.typed",
    }
    assert parts - found == set()
    scripts = (wheel / next(name for name in found if name.endswith("entry_points.txt"))).read_text()
    assert {"preflight =", "preflight-sync =", "preflight-jupyter-lab ="} <= {
        f"{line.partition('=')[0].strip()} =" for line in scripts.splitlines() if "=" in line
    }


def test_the_page_is_whole_and_light(wheel: zipfile.Path) -> None:
    root = "preflight/lab/labextensions/preflight-lab"
    entry = json.loads((wheel / f"{root}/package.json").read_text())["jupyterlab"]["_build"]["load"]
    assert (wheel / f"{root}/{entry}").exists()
    loaded = [name for name in names(wheel) if name.startswith(f"{root}/static/") and name.endswith(".js")]
    total = sum(wheel.root.getinfo(name).file_size for name in loaded)
    print(f"the extension adds {total / 1000:.0f} kB to the page")
    assert 10_000 < total <= MOST_IN_THE_PAGE_BYTES


def test_nothing_of_how_it_was_made(wheel: zipfile.Path) -> None:
    strange = [name for name in names(wheel) if any(word in f"/{name.lower()}" for word in NEVER)]
    assert strange == []
    assert wheel.root.testzip() is None
    assert sum(info.file_size for info in wheel.root.infolist()) < 5_000_000
    outside = {name.split("/")[0] for name in names(wheel)} - {"preflight", "sync"}
    assert [name for name in outside if not name.endswith(".dist-info")] == []
