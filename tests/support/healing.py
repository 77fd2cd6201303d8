"""Two tabs on one notebook, a node that vanishes under them, and how long the next one takes to heal both."""

from __future__ import annotations

import time

import requests

from tests.support.browser import Browser, Page
from tests.support.node import Node
from tests.support.wait import until

ROWS = """new Promise((done, failed) => {
    const asked = indexedDB.open('preflight-lab');
    asked.onerror = () => failed(asked.error);
    asked.onsuccess = () => {
        const rows = asked.result.transaction('unsaved').objectStore('unsaved').getAll();
        rows.onsuccess = () => {
            asked.result.close();
            done(rows.result.map(row => [row.path, new TextDecoder().decode(row.update)]));
        };
    };
})"""
FIRST_CELL = ".jp-Notebook .cm-content >> nth=0"


def opened(browser: Browser, root: str, path: str) -> tuple[Page, Page]:
    """Two tabs of one window that show the same document."""
    one = browser.open()
    one.log_in(root, path=f"/lab/tree/{path}")
    two = one.tab()
    two.do("goto", f"{root}/lab/tree/{path}")
    for tab in (one, two):
        tab.ready()
        tab.wait(".jp-Notebook .cm-content", timeout_s=90)
        tab.do("waitForTimeout", 1500)
        tab.dismiss()
    return one, two


def typed_without_a_node(tab: Page, text: str) -> None:
    """At the end of the first cell's first line, once the page has said that nobody answers."""
    tab.wait(".jp-Dialog", timeout_s=90)  # "Server Connection Error"
    tab.click_through(FIRST_CELL)
    tab.do("keyboard.press", "End")
    tab.do("keyboard.type", text)


def replaced(first: Node, second: Node) -> None:
    """The next node answers where the first one did."""
    second.port = first.port
    second.environ["PREFLIGHT_PORT"] = str(first.port)


def healed_after_s(second: Node, tabs: tuple[Page, ...], wanted: str, limit_s: float = 90) -> float:
    """Seconds from the first answer of JupyterLab on the port until every tab is connected and shows `wanted`.

    What one tab typed while no node was there is in `wanted`: another tab shows it only when both are connected.
    """

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{second.port}/api", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def heal() -> bool:
        return all(
            tab.text(FIRST_CELL) == wanted and "no connection" not in tab.text(".pf-status button") for tab in tabs
        )

    until(answers, 120, second.output)
    began_s = time.monotonic()
    until(heal, limit_s, lambda: f"{[tab.text(FIRST_CELL) for tab in tabs]}\n{second.output()[-1500:]}")
    return time.monotonic() - began_s


def kept(page: Page, text: str = "") -> list[str]:
    """The paths of the documents that this browser keeps, whose history holds `text`, put in at once."""
    return [path for path, held in page.evaluate(ROWS) if text in held]
