"""The page for people in a real browser: every state, phone and desktop, light and dark, and the way to JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.board import Board
from preflight.page import page
from preflight.server import Listener, page_route
from tests.support.browser import Browser
from tests.support.node import Node
from tests.support.page_states import boards
from tests.support.wait import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(360)]
SAID = {
    "checking": ("STARTING", "Checking whether this node is fit"),
    "bad-settings": ("FAILED", "AWS_SECRET_ACCESS_KEY"),
    "handing-back": ("DRAINING", "Another one was asked for"),
    "restoring": ("STARTING", "1240 of 5310 files"),
    "open": ("DEGRADED", "JupyterLab is open"),
    "offline": ("DEGRADED", "3 files (4.50 MB) wait"),
    "ready": ("READY", "Everything is saved"),
    "rejected": ("DEGRADED", "JupyterLab is open"),
    "crash-loop": ("FAILED", "ends again and again"),
    "stopping": ("DRAINING", "your last changes are being saved"),
}
SIZES = {
    "phone": {"viewport": {"width": 390, "height": 844}, "colorScheme": "light"},
    "desktop": {"viewport": {"width": 1280, "height": 800}, "colorScheme": "dark"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for this file."""
    with Browser() as one:
        yield one


def fresh(board: Board) -> None:
    """As if JupyterLab had answered just now."""
    if board.facts.app_ok:
        board.post(app_at_s=board.clock.monotonic())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", SAID)
def test_every_state_is_readable(state: str, size: str, browser: Browser, tmp_path: Path) -> None:
    board = boards(tmp_path)[state]
    fresh(board)
    word, sentence = SAID[state]
    listener = Listener(0, page_route(board, page))
    try:
        tab = browser.open(**SIZES[size])
        tab.do("goto", f"http://127.0.0.1:{listener.port}/")
        until(lambda: tab.text("#badge") == word, 60, lambda: tab.text("body"))
        assert sentence in tab.text("body")
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        light, ink = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert (light == "rgb(246, 247, 249)") == (size == "phone")
        assert light != ink
        assert "://" not in tab.text("body")  # no bucket and no file: JupyterLab's port is open to everybody here
        tab.screenshot(f"page-{state}-{size}")
        assert tab.errors() == []
        own = f"http://127.0.0.1:{listener.port}/"
        assert [url for url in tab.requests() if not url.startswith((own, "data:"))] == []
    finally:
        listener.stop()


def test_it_gives_way_to_jupyterlab(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with Node(tmp_path / "node", {"PREFLIGHT_STORE": f"file://{tmp_path}/bucket"}) as node:
        tab = browser.open()

        def shows_page() -> bool:
            tab.do("goto", f"http://127.0.0.1:{node.port}/")
            return "Preflight Lab" in str(tab.do("title"))

        until(lambda: node.probe("/livez")[0] == 200, 60, node.output)
        assert shows_page()
        until(lambda: "/login" in str(tab.do("url")) or "/lab" in str(tab.do("url")), 90, lambda: tab.text("body"))
        tab.wait("input[name=password]", timeout_s=30)
