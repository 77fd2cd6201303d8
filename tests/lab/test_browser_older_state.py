"""A node vanishes, and the next one starts from another state: what old tabs held is an explicit copy, never lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import Browser, Page
from tests.support.healing import kept, replaced
from tests.support.moto import S3Server, stored
from tests.support.node import Node
from tests.support.wait import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
BUCKET = "browser"
EDITOR = ".jp-FileEditor .cm-content"


def opened(browser: Browser, root: str, path: str) -> Page:
    """A window and a layout of its own, at the end of the text."""
    page = browser.open()
    page.log_in(root, path=f"/lab/workspaces/{Path(path).stem}/tree/{path}")
    page.wait(EDITOR)
    page.click_through(EDITOR)
    page.do("keyboard.press", "Control+End")
    return page


def copies(folder: Path, stem: str) -> dict[str, str]:
    """The conflict copies of a file and their texts."""
    return {path.name: path.read_text() for path in folder.glob(f"{stem} (conflict Chrome *).txt")}


def test_text_typed_without_a_node_survives_a_dropped_history(
    browser: Browser, server: S3Server, tmp_path: Path
) -> None:
    environ = server.environ(f"{BUCKET}/older")
    first, second = Node(tmp_path / "first", environ), Node(tmp_path / "second", environ)
    replaced(first, second)
    root = f"http://127.0.0.1:{first.port}"
    with first:
        first.wait_ready(120)
        first.wait_saved(90)
        person = first.browser()
        for name in ("stays", "reloads"):
            person.save(f"{name}.txt", "begun", "file")
        tabs = {name: opened(browser, root, f"{name}.txt") for name in ("stays", "reloads")}
        for name, tab in tabs.items():
            tab.do("keyboard.type", " #saved")
            until(lambda name=name: stored(server, BUCKET, f"older/{name}.txt") == b"begun #saved", 90, first.output)  # type: ignore[misc]
        first.wait_saved(90)
        first.vanish()
    for name, tab in tabs.items():
        tab.wait(".jp-Dialog", timeout_s=90)  # "Server Connection Error"
        tab.click_through(EDITOR)
        tab.do("keyboard.press", "Control+End")
        tab.do("keyboard.insertText", f" #while-down of {name}")
        until(lambda name=name, tab=tab: kept(tab, f"#while-down of {name}") == [f"{name}.txt"], 60)  # type: ignore[misc]
        # Somebody put another content in its place: the history of the document is over.
        server.client().put_object(
            Bucket=BUCKET, Key=f"older/{name}.txt", Body=b"by git", Metadata={"mtime": "1000000000.0"}
        )
    gone = tabs["reloads"]
    gone.do("close")
    with second:
        second.wait_ready(120)
        wanted = "begun #saved #while-down of stays"
        until(lambda: list(copies(second.folder, "stays").values()) == [wanted], 90, second.output)
        stays = tabs["stays"]
        again = gone.tab()
        again.do("goto", f"{root}/lab/workspaces/again")
        again.ready()
        wanted = "begun #saved #while-down of reloads"
        until(lambda: list(copies(second.folder, "reloads").values()) == [wanted], 90, second.output)
        again.wait('text="Open"')
        again.screenshot("lab-kept-after-reload")
        until(lambda: kept(again, "#while-down") == [], 60)
        stays.screenshot("lab-older-state")
        for _ in range(60):
            if stays.do("isVisible", '.jp-Dialog:has-text("older than what is saved")'):
                break
            stays.do("click", ".jp-Dialog .jp-Dialog-button >> nth=0")
            stays.do("waitForTimeout", 500)
        stays.screenshot("lab-older-dialog")
        stays.click('.jp-Dialog button:has-text("Load Again")')
        stays.ready()
        until(lambda: stays.text(EDITOR) == "by git", 90)
        for name in tabs:
            assert (second.folder / f"{name}.txt").read_text() == "by git"
            assert len(copies(second.folder, name)) == 1
            (copy,) = copies(second.folder, name)
            until(lambda copy=copy: bool(stored(server, BUCKET, f"older/{copy}")), 90, second.output)  # type: ignore[misc]
        listed = second.sync()["conflicts"]
        assert isinstance(listed, list | tuple)
        assert {row["path"] for row in listed} == {"stays.txt", "reloads.txt"}
