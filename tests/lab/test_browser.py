"""JupyterLab as a person sees it, on a real node with a real S3 server and a network that can be cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, Page
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.imds import FakeImds, fake_imds
from tests.support.jupyter import Client
from tests.support.moto import S3Server, stored
from tests.support.node import Node, notebook
from tests.support.wait import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
BUCKET = "browser"
MACHINE = "5f0c3a52-0000-4000-8000-00000000000a"


@pytest.fixture(scope="module")
def network(server: S3Server) -> Iterator[FaultProxy]:
    """Between the node and the server."""
    with FaultProxy(server.ports[0]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def imds() -> Iterator[FakeImds]:
    """The platform's metadata service."""
    with fake_imds() as running:
        yield running


@pytest.fixture(scope="module")
def node(
    server: S3Server, network: FaultProxy, imds: FakeImds, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """One node for all tests that leave it alive."""
    environ = server.environ(f"{BUCKET}/shared") | {
        "AWS_ENDPOINT_URL": network.url,
        "PREFLIGHT_PLATFORM": "salad",
        "SALAD_MACHINE_ID": MACHINE,
        "SALAD_METADATA_URI": imds.url,
        "PREFLIGHT_EXPECT_GPU": "0",
        "PREFLIGHT_GUARD_FILES": "20",
        "PREFLIGHT_GUARD_RATIO": "0.2",
        "PREFLIGHT_ON_REJECT": "report",  # of verdicts; a person who asks to move is heard all the same
    }
    with Node(tmp_path_factory.mktemp("node"), environ) as running:
        running.wait_ready(120)
        running.wait_saved(90)
        until(lambda: (running.folder / "preflight-notebooks" / "00_start_here.ipynb").exists(), 90)
        running.wait_saved(90)
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser, node: Node) -> Page:
    """Logged in, panel open."""
    made = browser.open()
    made.log_in(f"http://127.0.0.1:{node.port}")
    made.wait(".pf-status")
    made.click(".pf-status button")
    made.wait(".pf-panel h2")
    return made


def shows(page: Page, selector: str, *words: str) -> Callable[[], bool]:
    """Whether all words can be read there."""
    return lambda: page.do("isVisible", selector) and all(word in page.text(selector) for word in words)


def texts(folder: Path, pattern: str) -> list[str]:
    """What the files hold; one that goes away between the look and the read is left out."""
    found = []
    for file in folder.glob(pattern):
        with suppress(FileNotFoundError):
            found.append(file.read_text())
    return found


def marked(page: Page) -> set[str]:
    """The names in the file browser that are marked as not saved."""
    rows = '.jp-DirListing-item[data-pf-mark="pending"] .jp-DirListing-itemText'
    return set(page.evaluate(f"[...document.querySelectorAll({rows!r})].map(row => row.textContent)"))


def status(page: Page) -> str:
    return page.text(".pf-status button")


def test_the_page_asks_nobody_else_and_has_no_errors(page: Page, node: Node) -> None:
    until(lambda: status(page).startswith("Saved"), 90, lambda: status(page))
    own = (f"http://127.0.0.1:{node.port}/", f"ws://127.0.0.1:{node.port}/", "data:", "blob:")
    assert [url for url in page.requests() if not url.startswith(own)] == []
    assert page.errors() == []
    page.screenshot("lab-saved")


def test_the_bundle_is_small(page: Page, repository: Path) -> None:
    folder = repository / "preflight" / "lab" / "labextensions" / "preflight-lab" / "static"
    assert sum(file.stat().st_size for file in folder.glob("*.js")) <= 150_000
    assert any("preflight-lab" in url for url in page.requests())


def test_an_edit_turns_pending_and_then_saved(page: Page, node: Node, server: S3Server) -> None:
    seen: set[str] = set()
    path = node.folder / "large.bin"
    path.write_bytes(b"x" * 40_000_000)

    def look() -> bool:
        seen.add(page.do("getAttribute", ".pf-status", "data-tone"))
        return "busy" in seen

    until(look, 90, lambda: status(page))
    until(lambda: status(page).startswith("Saved"), 90, lambda: status(page))
    assert len(stored(server, BUCKET, "shared/large.bin")) == 40_000_000


def test_typing_in_a_notebook_reaches_the_bucket(page: Page, node: Node, server: S3Server) -> None:
    node.browser().save("typed.ipynb", notebook("a = 1"))
    tab = page.tab()
    tab.do("goto", f"http://127.0.0.1:{node.port}/lab/tree/typed.ipynb")
    tab.ready()
    tab.wait(".jp-Notebook .cm-content", timeout_s=90)
    tab.dismiss()
    tab.click_through(".jp-Notebook .cm-content")
    tab.do("keyboard.press", "End")
    tab.do("keyboard.type", " # typed by hand")
    until(lambda: b"typed by hand" in stored(server, BUCKET, "shared/typed.ipynb"), 90)
    tab.screenshot("lab-notebook")
    tab.do("close")


def test_a_cut_network_is_red_within_seconds_and_heals(page: Page, node: Node, network: FaultProxy) -> None:
    network.faults = Faults(refuse=True)
    network.drop_all()
    (node.folder / "while-cut.txt").write_text("patience")
    (node.folder / "deep" / "er").mkdir(parents=True)
    for path in [f"wait-{number}.txt" for number in range(40)] + ["deep/er/x.txt"]:
        (node.folder / path).write_text("patience")
    try:
        until(lambda: page.do("getAttribute", ".pf-status", "data-tone") == "bad", 90, lambda: status(page))
        assert status(page).startswith("Not saved")
        page.screenshot("lab-offline")
        until(shows(page, ".pf-saving", "while-cut.txt"), 90, lambda: page.text(".pf-saving"))
        # More wait than the status names: every row that waits is marked, and the folder above one.
        rows = {"while-cut.txt", "deep", *(f"wait-{number}.txt" for number in range(40))}
        until(lambda: rows <= marked(page), 60, lambda: sorted(rows - marked(page)))
        page.do("dblclick", '.jp-DirListing-item:has-text("deep")')
        until(lambda: marked(page) == {"er"}, 60, lambda: marked(page))
        page.click(".jp-BreadCrumbs-home")
    finally:
        network.heal()
    until(lambda: status(page).startswith("Saved"), 60, lambda: status(page))
    until(lambda: marked(page) == set(), 60, lambda: marked(page))


def test_save_everything_now(page: Page, node: Node, server: S3Server) -> None:
    (node.folder / "at-once.txt").write_text("now")
    page.click("text=Save everything now")
    page.wait('.pf-said:has-text("Everything was in the bucket at")')
    assert stored(server, BUCKET, "shared/at-once.txt") == b"now"


def test_a_conflict_is_shown_and_settled(page: Page, node: Node, server: S3Server) -> None:
    path = node.folder / "both.txt"
    path.write_text("the first")
    node.wait_saved(90)
    until(lambda: stored(server, BUCKET, "shared/both.txt") == b"the first", 90)
    server.client().put_object(Bucket=BUCKET, Key="shared/both.txt", Body=b"by somebody else")
    path.write_text("mine")
    until(shows(page, ".pf-conflicts", "both.txt"), 90, node.output)
    page.screenshot("lab-conflict")
    assert sorted(texts(node.folder, "both*")) == ["by somebody else", "mine"]
    page.click(".pf-conflicts >> text=Keep the second")
    until(lambda: texts(node.folder, "both*") == ["by somebody else"], 60)
    until(lambda: not page.do("isVisible", ".pf-conflicts"), 60, lambda: page.text(".pf-conflicts"))


def test_a_deleted_file_comes_back(page: Page, node: Node, server: S3Server) -> None:
    path = node.folder / "precious.txt"
    path.write_text("do not lose")
    until(lambda: stored(server, BUCKET, "shared/precious.txt") == b"do not lose", 90)
    path.unlink()
    until(lambda: stored(server, BUCKET, "shared/precious.txt") == b"", 90, node.output)
    page.click('.pf-trash button:has-text("Show")')
    row = '.pf-trash li:has-text("precious.txt") button'
    page.wait(row, timeout_s=90)
    page.screenshot("lab-trash")
    page.click(row)
    until(lambda: path.exists() and path.read_text() == "do not lose", 90)


def test_many_deletes_are_held_and_released(page: Page, node: Node, server: S3Server) -> None:
    folder = node.folder / "bulk"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.txt").write_text(f"{number}")
    until(lambda: stored(server, BUCKET, "shared/bulk/59.txt") == b"59", 90, node.output)
    node.wait_saved(90)
    shutil.rmtree(folder)
    until(shows(page, ".pf-held", "Deletes held back: 6"), 90, lambda: f"{status(page)}\n{node.sync()}")
    assert stored(server, BUCKET, "shared/bulk/0.txt") == b"0"
    page.screenshot("lab-held")
    page.click(".pf-held >> text=I meant it")
    until(lambda: stored(server, BUCKET, "shared/bulk/0.txt") == b"", 90, node.output)
    until(lambda: not page.do("isVisible", ".pf-held"), 60, lambda: page.text(".pf-held"))
    until(lambda: status(page).startswith("Saved"), 60, lambda: status(page))


def test_the_report_of_this_node_is_there_and_moving_is_asked_first(page: Page, node: Node, imds: FakeImds) -> None:
    page.wait(".pf-node table", timeout_s=90)
    report: Any = node.report()
    assert shows(page, ".pf-node", report["machine"], report["verdict"])()
    page.click("text=Move to another node…")
    page.wait('.jp-Dialog:has-text("48 hours")')
    page.screenshot("lab-move")
    page.click(".jp-Dialog .jp-mod-reject")
    page.do("waitForSelector", ".jp-Dialog", {"state": "detached"})
    assert imds.reallocations == [], "asked first"


def test_dark_and_by_keyboard(page: Page, node: Node) -> None:
    client = Client(f"http://127.0.0.1:{node.port}")
    client.post_login("correct horse")
    theme = "/lab/api/settings/@jupyterlab/apputils-extension:themes"
    assert client.call("PUT", theme, json={"raw": '{"theme": "JupyterLab Dark"}'}).status_code == 204
    page = page.tab()
    page.do("goto", f"http://127.0.0.1:{node.port}/lab")
    page.ready()
    page.wait("body[data-jp-theme-light=false]", "attached")
    client.call("PUT", theme, json={"raw": "{}"})
    page.click(".pf-status button")
    page.wait(".pf-panel h2")
    page.wait(".pf-node table")
    page.screenshot("lab-dark")
    page.do("focus", ".pf-status button")
    assert page.evaluate("document.activeElement.closest('.pf-status') !== null")
    names = page.evaluate(
        "[...document.querySelectorAll('.pf-panel button')].filter(b => !(b.textContent || b.ariaLabel)).length"
    )
    assert names == 0, "every button has a name"


def test_leaving_with_unsaved_work_is_asked(browser: Browser, node: Node, network: FaultProxy) -> None:
    page = browser.open()
    page.log_in(f"http://127.0.0.1:{node.port}")
    page.wait(".pf-status")
    page.click_through(".pf-status button")  # a browser asks only after the person did something
    network.faults = Faults(refuse=True)
    network.drop_all()
    try:
        (node.folder / "unsaved.txt").write_text("x")
        until(lambda: page.do("getAttribute", ".pf-status", "data-tone") == "bad", 90)
        page.do("close", {"runBeforeUnload": True})
        until(lambda: "beforeunload" in page.do("log")["dialogs"], 90)
    finally:
        network.heal()
    node.wait_saved(60)


KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
CELL_S = int(os.environ.get("PREFLIGHT_CELL_S", "6"))  # how long the browser is closed; 600: the ten-minute cell


@pytest.mark.timeout(400 + 2 * CELL_S)
def test_a_long_cell_outlives_the_browser(browser: Browser, node: Node, server: S3Server, tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    body = notebook(
        "import os, time\n"
        f"while not os.path.exists({str(enough)!r}):\n"
        "    print('tick', flush=True)\n"
        "    time.sleep(1)\n"
        "print('D' + 'ONE')"
    )
    body["metadata"] = KERNEL
    node.browser().save("long.ipynb", body)
    page = browser.open()
    page.log_in(f"http://127.0.0.1:{node.port}", path="/lab/tree/long.ipynb")
    page.wait(".jp-Notebook .cm-content", timeout_s=90)
    page.wait('.jp-Toolbar-kernelName:has-text("Python 3")', timeout_s=90)
    page.wait('.jp-Notebook-ExecutionIndicator[data-status="idle"]', "attached", timeout_s=90)
    page.click_through(".jp-Notebook .cm-content")
    page.do("keyboard.press", "Shift+Enter")
    page.wait('.jp-OutputArea-output:has-text("tick")', timeout_s=90)
    page.do("close")

    def ticks() -> int:
        return stored(server, BUCKET, "shared/long.ipynb").count(b"tick\\n")

    seen = ticks()
    until(lambda: ticks() >= seen + CELL_S, 2 * CELL_S + 60, lambda: f"{seen} {ticks()}\n{node.output()[-3000:]}")
    assert b"DONE" not in stored(server, BUCKET, "shared/long.ipynb")
    enough.touch()
    until(lambda: b"DONE" in stored(server, BUCKET, "shared/long.ipynb"), 60, node.output)


def test_kernels_of_a_real_node_cannot_reach_the_keys(node: Node, server: S3Server) -> None:
    client = Client(f"http://127.0.0.1:{node.port}")
    assert client.post_login("correct horse").status_code == 302
    said = client.run(f"""
import glob, os
secrets = [{server.secret!r}.encode(), b"correct horse"]
refused = 0
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        text = open(path, "rb").read()
    except OSError:
        refused += 1
        continue
    if any(secret in text for secret in secrets):
        print("LEAK", path, open(path.replace("environ", "cmdline")).read())
print([name for name in os.environ if name.startswith(("AWS_SECRET", "JUPYTERLAB"))], refused > 2)
""")
    assert said.split("\n")[-2] == "[] True"
    assert "LEAK" not in said


def test_moving_to_another_node(page: Page, node: Node, server: S3Server, imds: FakeImds) -> None:
    """Saved, verified, counted in the ledger, and only then is the platform asked. It ends the shared node: last."""
    (node.folder / "last-words.txt").write_text("take me along")
    page.do("bringToFront")
    page.click("text=Move to another node…")
    page.wait('.jp-Dialog:has-text("48 hours")')
    page.click('.jp-Dialog button:has-text("Save and Move")')
    until(lambda: imds.reallocations, 120, lambda: f"{page.text('.pf-panel')[:500]}\n{node.output()[-3000:]}")
    assert stored(server, BUCKET, "shared/last-words.txt") == b"take me along"
    assert "user.move" in imds.reallocations[0]
    page.wait('.pf-said:has-text("The platform was asked for another node")')
    page.screenshot("lab-moved")
    tokens = server.client().list_objects_v2(Bucket=BUCKET, Prefix="shared/.preflight/ledger/")
    assert [entry["Key"] for entry in tokens.get("Contents", ()) if "/tokens/" in entry["Key"]], "counted first"
    assert len(imds.reallocations) == 1
