"""The page for people in a real browser: every state, phone and desktop, light and dark, and the way to JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.board import Board
from preflight.metrics import exposition
from preflight.page import page
from preflight.server import Listener, page_route, probe_routes
from tests.support.browser import Browser, Page
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
    "saving": ("READY", "1 file (2.10 GB) waits, the oldest for 2 s"),
    "held": ("DEGRADED", "held back until you confirm it"),
    "fenced": ("DEGRADED", "A newer node has taken this folder over"),
    "denied": ("DEGRADED", "the server does not accept the credentials"),
    "monitor": ("DEGRADED", "96 °C in four of the last five readings"),
    "kept": ("DEGRADED", "still alive 120 s later"),
    "stopping": ("DRAINING", "your last changes are being saved"),
}
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 800}}
GROUNDS = {"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 27)"}
# What a person sees: nothing is cut off at the side, and every word stands out from what is behind it (WCAG AA).
CUT_OFF = """[...document.querySelectorAll('main *')]
  .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1)
  .filter(one => getComputedStyle(one).display !== 'inline')
  .map(one => one.tagName + ': ' + one.textContent.slice(0, 60))"""
PALE = """(() => {
  const parts = text => (text.match(/[0-9.]+/g) || []).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const shine = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const behind = one => {
    const found = parts(getComputedStyle(one).backgroundColor);
    return found.length === 3 ? found : one.parentElement ? behind(one.parentElement) : [255, 255, 255];
  };
  const contrast = one => {
    const [a, b] = [shine(parts(getComputedStyle(one).color)), shine(behind(one))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  };
  return [...document.querySelectorAll('main *')]
    .filter(one => one.offsetParent && !one.children.length && one.textContent.trim() && contrast(one) < 4.5)
    .map(one => one.textContent.slice(0, 40) + ' ' + contrast(one));
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for this file."""
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> dict[str, Page]:
    """One tab a size."""
    return {size: browser.open(viewport=viewport) for size, viewport in SIZES.items()}


def fresh(board: Board) -> None:
    """As if JupyterLab had answered just now."""
    if board.facts.app_ok:
        board.post(app_at_s=board.clock.monotonic())


@pytest.mark.parametrize("state", SAID)
def test_every_state_is_readable(state: str, tabs: dict[str, Page], tmp_path: Path) -> None:
    board = boards(tmp_path)[state]
    word, sentence = SAID[state]
    probes = Listener(0, probe_routes(board, exposition(board), page))  # desktop looks here, the phone at port 8000
    app = Listener(0, page_route(board, page))
    try:
        for size, listener in (("phone", app), ("desktop", probes)):
            fresh(board)
            own = f"http://127.0.0.1:{listener.port}/"
            tab = tabs[size]
            asked, failed = len(tab.requests()), len(tab.errors())
            tab.do("goto", own)
            until(lambda tab=tab: tab.text("#badge") == word, 60, lambda tab=tab: tab.text("body"))  # type: ignore[misc]
            assert sentence in tab.text("body")
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            assert "://" not in tab.text("body")  # no bucket and no file: JupyterLab's port is open to everybody here
            assert tab.evaluate(CUT_OFF) == []
            for scheme, ground in GROUNDS.items():
                tab.do("emulateMedia", {"colorScheme": scheme})
                assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == ground
                assert tab.evaluate(PALE) == []
                tab.screenshot(f"page-{state}-{size}-{scheme}")
            assert tab.errors()[failed:] == []
            assert [url for url in tab.requests()[asked:] if not url.startswith((own, "data:"))] == []
            tab.do("goto", "about:blank")  # what it asks of a server that is gone would be an error of the next state
    finally:
        probes.stop()
        app.stop()


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
