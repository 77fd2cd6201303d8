"""The supervisor with real processes: whatever dies comes back, nothing else is touched, and `/livez` never blinks."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.support.node import Node
from tests.support.wait import until

pytestmark = pytest.mark.timeout(360)
APP = Path(__file__).parent.parent / "support" / "app.py"


def node(home: Path, *words: str, command: tuple[str, ...] = (), **environ: str) -> Node:
    """A node around the small server (or `command`), saving into a folder."""
    argv = command or (sys.executable, str(APP), *words)
    made = Node(home, {"PREFLIGHT_STORE": f"file://{home}/bucket", **environ}, command=("up", "--", *argv))
    made.environ.setdefault("PREFLIGHT_READY_URL", f"http://127.0.0.1:{made.port}/")
    return made


def page(one: Node) -> dict[str, Any]:
    """What the page shows; before anything listens, a page without anything on it."""
    status, text = one.probe("/page.json")
    document: dict[str, Any] = json.loads(text) if status == 200 else {"services": [], "condition": "", "why": ""}
    return document


def child(one: Node, what: str) -> psutil.Process:
    """The running child whose command line holds `what`."""
    assert one.process is not None
    for process in psutil.Process(one.process.pid).children():
        if what in " ".join(process.cmdline()):
            return process
    raise AssertionError(f"no child {what}: {one.output()[-2000:]}")


def pid_of(one: Node, what: str) -> int:
    """Its pid, 0 when there is none."""
    try:
        return child(one, what).pid
    except (AssertionError, psutil.Error):
        return 0


def test_a_crash_loop_is_shown_and_never_ends_the_node(tmp_path: Path) -> None:
    with node(tmp_path / "node", command=("/bin/false",)) as one:
        until(lambda: page(one)["services"] and page(one)["services"][-1]["restarts"] >= 4, 60, one.output)
        assert not one.exited()
        assert one.probe("/livez")[0] == 200
        assert one.probe("/startupz")[0] == 200
        status, text = one.probe("/readyz?verbose")
        assert status == 503
        assert "it exited with status 1" in text  # also in the moment in which it runs again
        until(lambda: page(one)["condition"] == "FAILED", 60, lambda: page(one)["why"])
        # JupyterLab's port shows the page again instead of a dead address.
        until(lambda: "text/html" in _type(f"http://127.0.0.1:{one.port}/"), 60, one.output)
        assert one.terminate() == 0


def _type(url: str) -> str:
    try:
        return requests.get(url, timeout=2).headers.get("Content-Type", "")
    except requests.RequestException:
        return ""


def test_sigterm_saves_and_exits_zero(tmp_path: Path) -> None:
    with node(tmp_path / "node") as one:
        one.wait_ready()
        one.wait_saved()
        (one.folder / "last.txt").write_text("the last words")
        assert one.terminate() == 0
        assert (tmp_path / "node" / "bucket" / "last.txt").read_text() == "the last words"
        order = [json.loads(line) for line in one.output().splitlines() if '"a service ended"' in line]
        assert [line["service"] for line in order] == ["app", "monitor", "sync"]


def test_a_second_signal_skips_the_wait(tmp_path: Path) -> None:
    with node(tmp_path / "node", "stubborn", PREFLIGHT_STOP_APP_S="900") as one:
        one.wait_ready()
        assert one.process is not None
        one.process.send_signal(signal.SIGTERM)
        until(lambda: page(one)["condition"] == "DRAINING", 60, one.output)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(120) == 0  # not 900


def test_a_worker_that_finished_ends_the_node_with_everything_saved(tmp_path: Path) -> None:
    words = ("/bin/sh", "-c", 'echo done > "$PREFLIGHT_DATA_DIR/result.txt"')
    with node(tmp_path / "node", command=words) as one:
        until(one.exited, 60, one.output)
        assert one.process is not None
        assert one.process.returncode == 0
        assert (tmp_path / "node" / "bucket" / "result.txt").read_text() == "done\n"


def test_orphans_are_buried(tmp_path: Path) -> None:
    with node(tmp_path / "node", "orphan") as one:
        one.wait_ready()
        assert one.process is not None
        supervisor = psutil.Process(one.process.pid)
        until(
            lambda: all(kid.status() != psutil.STATUS_ZOMBIE for kid in supervisor.children()), 60, supervisor.children
        )


def test_children_do_not_outlive_the_supervisor(tmp_path: Path) -> None:
    with node(tmp_path / "node") as one:
        one.wait_ready()
        assert one.process is not None
        kids = psutil.Process(one.process.pid).children()
        assert len(kids) >= 2
        one.process.kill()
        one.process.wait(10)
        _, alive = psutil.wait_procs(kids, timeout=120)
        assert alive == []


def test_busy_is_ready_and_failing_is_not(tmp_path: Path) -> None:
    word = tmp_path / "word"
    with node(tmp_path / "node", APP_WORD=str(word)) as one:
        one.wait_ready()
        word.write_text("BUSY")
        until(lambda: page(one)["condition"] == "BUSY", 60, lambda: page(one)["why"])
        assert one.probe("/readyz")[0] == 200
        word.write_text("BROKEN")
        until(lambda: one.probe("/readyz")[0] == 503, 60, lambda: one.probe("/readyz"))
        assert one.probe("/livez")[0] == 200
        assert page(one)["condition"] == "FAILED"
        word.write_text("READY")
        until(lambda: one.probe("/readyz")[0] == 200, 60, lambda: one.probe("/readyz"))


def test_a_ready_file_speaks_for_a_worker(tmp_path: Path) -> None:
    word = tmp_path / "ready"
    with node(
        tmp_path / "node", command=("/bin/sleep", "600"), PREFLIGHT_READY_FILE=str(word), PREFLIGHT_READY_URL=""
    ) as one:
        until(lambda: "there is no ready yet" in one.probe("/readyz")[1], 60, one.output)
        word.write_text("READY")
        one.wait_ready()
        word.write_text("BUSY one batch of three")
        until(lambda: page(one)["condition"] == "BUSY", 60, lambda: page(one)["why"])
        assert page(one)["why"] == "one batch of three"
