"""A node vanishes under open tabs: they heal on the next one without a reload or a login."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflight.lab.generation import MARK
from tests.support.browser import Browser
from tests.support.moto import S3Server, stored
from tests.support.node import Node, notebook
from tests.support.wait import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
BUCKET = "browser"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
BUSY = "import time\nprint('be' + 'gun', flush=True)\ntime.sleep(600)"


def cells(path: Path) -> list[str]:
    """The sources of a notebook on disk; [] while it is not there."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]] if path.exists() else []


def test_open_tabs_heal_on_the_next_node(browser: Browser, server: S3Server, tmp_path: Path) -> None:
    environ = server.environ(f"{BUCKET}/moving")
    first = Node(tmp_path / "first", environ)
    second = Node(tmp_path / "second", environ)
    second.port = first.port
    second.environ["PREFLIGHT_PORT"] = str(first.port)
    root = f"http://127.0.0.1:{first.port}"
    with first:
        first.wait_ready(120)
        first.wait_saved(90)
        body = notebook("start = 1", BUSY)
        body["metadata"] = KERNEL
        first.browser().save("thesis.ipynb", body)
        one = browser.open()
        one.log_in(root, path="/lab/tree/thesis.ipynb")
        two = one.tab()
        two.do("goto", f"{root}/lab/tree/thesis.ipynb")
        for tab in (one, two):
            tab.ready()
            tab.wait(".jp-Notebook .cm-content", timeout_s=90)
            tab.do("waitForTimeout", 1500)
            tab.dismiss()
        one.wait('.jp-Toolbar-kernelName:has-text("Python 3")', timeout_s=90)
        one.click(".jp-Notebook .jp-Cell:nth-child(2) .cm-content")
        one.do("keyboard.press", "Shift+Enter")
        until(lambda: b"begun" in stored(server, BUCKET, "moving/thesis.ipynb"), 60, first.output)
        one.click(".jp-Notebook .cm-content >> nth=0")
        one.do("keyboard.press", "End")
        one.do("keyboard.type", " #one")
        until(lambda: b"#one" in stored(server, BUCKET, "moving/thesis.ipynb"), 90)
        one.do("keyboard.type", " #mid-keystroke")
        first.vanish()
    one.wait(".jp-Dialog", timeout_s=90)  # "Server Connection Error"
    one.click_through(".jp-Notebook .cm-content >> nth=0")
    one.do("keyboard.press", "End")
    one.do("keyboard.type", " #while-down")
    with second:
        second.wait_ready(120)
        path = second.folder / "thesis.ipynb"
        wanted = "start = 1 #one #mid-keystroke #while-down"
        until(lambda: cells(path)[:2] == [wanted, BUSY], 90, lambda: f"{cells(path)}\n{second.output()[-1500:]}")
        for tab in (one, two):
            tab.dismiss()
            until(lambda tab=tab: tab.text(".jp-Notebook .cm-content >> nth=0") == wanted, 90)  # type: ignore[misc]
            assert "/login" not in tab.evaluate("location.href"), "nobody has to log in again"
        assert MARK.strip() in one.text(".jp-Notebook"), "the cell that ran when the node vanished says so"
        one.screenshot("lab-healed")
        until(lambda: wanted.encode() in stored(server, BUCKET, "moving/thesis.ipynb"), 90)
