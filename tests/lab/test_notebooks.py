"""The shipped notebooks, run headless on a real node; their conclusions are their own assertions."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.support.browser import ARTEFACTS
from tests.support.node import Node

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One `preflight up` on its embedded store, with five verdicts on record."""
    home = tmp_path_factory.mktemp("node")
    with Node(home, {}) as running:
        running.wait_ready(120)
        running.wait_saved(90)
        evidence = home / "state" / "preflight" / "evidence"
        first = json.loads(next(iter(evidence.glob("*.json"))).read_text())
        for number in range(1, 5):
            first["report"]["machine"] = f"machine-{number}"
            for one in first["measurements"]:
                if isinstance(one["value"], float):
                    one["value"] *= 1 + 0.3 * number
            (evidence / f"2026010{number}T000000Z-machine-{number}.json").write_text(json.dumps(first))
        yield running


def run(path: Path, node: Node, folder: Path, **parameters: object) -> nbformat.NotebookNode:
    """Execute with the node's own kernels, as JupyterLab would."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path.parent / "cuda_hello.cu", folder)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    share = node.home / "state" / "lab" / "share"
    env = {**os.environ, "PREFLIGHT_STATE_DIR": str(node.home / "state"), "JUPYTER_PATH": str(share)}
    before = dict(os.environ)
    os.environ.update(env)
    try:
        with tempfile.TemporaryDirectory(prefix="kernel-") as short:  # a socket's path has room for 107 characters
            # Over sockets in a folder, as JupyterLab here: another process cannot take them as it can a chosen port.
            kernel = AsyncKernelManager(transport="ipc", connection_file=f"{short}/kernel.json")
            client = NotebookClient(notebook, kernel, timeout=300, resources={"metadata": {"path": str(folder)}})
            client.execute(env=env, cleanup_kc=True)
    except CellExecutionError as failed:
        raise AssertionError(f"{path.name}: {failed}\n{node.output()[-2000:]}") from failed
    finally:
        os.environ.clear()
        os.environ.update(before)
    return notebook


def pictures(notebook: nbformat.NotebookNode, name: str) -> int:
    """Keep every plot for people to look at; how many there are."""
    found = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            image = output.get("data", {}).get("image/png")
            if image:
                found += 1
                ARTEFACTS.mkdir(parents=True, exist_ok=True)
                (ARTEFACTS / f"{name}-{found}.png").write_bytes(base64.b64decode(image))
    return found


def said(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed."""
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", ()))


PLOTS: dict[str, int] = {
    "00_start_here": 0,
    "01_node_report": 1,
    "02_storage_benchmark": 1,
    "03_gpu_diagnostics": 0,  # on a machine without a GPU
    "04_sync_inspector": 0,
    "05_fleet_and_thresholds": 1,
    "06_long_training": 1,
}


PARAMETERS: dict[str, dict[str, Any]] = {
    "02_storage_benchmark": {"sizes_bytes": [1000, 100_000, 1_000_000], "repeats": 2},
    "06_long_training": {"checkpoint_every_s": 0.05, "steps": 120},
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_draws(path: Path, node: Node) -> None:
    done = run(path, node, node.folder / "try", **PARAMETERS.get(path.stem, {}))
    assert pictures(done, path.stem) >= PLOTS[path.stem]
    text = said(done)
    for words in {
        "00_start_here": [f"machine {node.report()['machine']}", "Your folder: sav"],
        "03_gpu_diagnostics": ["gpu.count"],
        "04_sync_inspector": ["saved after", "back: True"],
        "05_fleet_and_thresholds": ["5 verdicts on 5 machines", " of 5 nodes"],
        "06_long_training": ["done: loss"],
    }.get(path.stem, []):
        assert words in text, text


def test_a_training_goes_on_where_it_was(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "training"
    path = next(path for path in NOTEBOOKS if path.stem == "06_long_training")
    whole = said(run(path, node, node.folder / "try", steps=120))  # finished there before, or runs now
    first = said(run(path, node, folder, steps=120, stop_after=50))
    second = said(run(path, node, folder, steps=120))
    assert "fresh start" in first
    assert "stopped at step 50" in first
    assert "resumed at step 50" in second
    assert losses(second)[-1] == losses(whole)[-1], "the same loss as if nothing had happened"


def losses(text: str) -> list[str]:
    """Of the lines that end a training."""
    return [line for line in text.splitlines() if line.startswith("done")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_git_holds_no_outputs_and_only_the_public_api(path: Path) -> None:
    import preflight

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    text = "\n".join(cell.source for cell in code)
    assert "from preflight" not in text
    used = {word.split("(")[0].split(".")[1] for word in text.split() if word.startswith("preflight.")}
    assert {name.strip(",:)") for name in used} <= set(preflight.__all__)
