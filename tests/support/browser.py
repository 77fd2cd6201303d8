"""A real Chromium for tests: JupyterLab as a person sees it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
ARTEFACTS = HERE.parent / "artefacts"


class Browser:
    """One Chromium process. Use as a context manager."""

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="chromium-")
        self._process = subprocess.Popen(
            ["node", str(HERE / "browser.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HOME": self._home.name},
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process.stdout.close()
        self._home.cleanup()

    def do(self, call: str, *args: Any, page: int = 0) -> Any:
        """One call of playwright's Page; AssertionError with its message when it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"page": page, "call": call, "args": args}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser ended"
        answer = json.loads(line)
        assert answer["ok"], f"{call}{args}: {answer['why']}"
        return answer["value"]

    def open(self, **options: Any) -> Page:
        """A new window with cookies of its own."""
        return Page(self, self.do("open", options))


class Page:
    """One tab."""

    def __init__(self, browser: Browser, number: int) -> None:
        self._browser = browser
        self._number = number

    def do(self, call: str, *args: Any) -> Any:
        return self._browser.do(call, *args, page=self._number)

    def tab(self) -> Page:
        """Another tab of the same window."""
        return Page(self._browser, self._browser.do("tab", page=self._number))

    def log_in(self, root: str, password: str = "correct horse", path: str = "/lab") -> None:
        """Through the form, and wait for JupyterLab's launcher or document."""
        self.do("goto", f"{root}/login?next={path}")
        self.do("fill", "input[name=password]", password)
        self.do("click", "#login_submit")
        self.ready()

    def ready(self) -> None:
        """Until JupyterLab is drawn."""
        self.wait("#jupyterlab-splash", "detached", 90)
        self.wait(".jp-LabShell", "visible", 90)

    def wait(self, selector: str, state: str = "visible", timeout_s: float = 90) -> None:
        """Until an element is visible | hidden | attached | detached."""
        self.do("waitForSelector", selector, {"state": state, "timeout": timeout_s * 1000})

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(self.do("innerText", selector))

    def evaluate(self, script: str) -> Any:
        """A JavaScript expression's value."""
        return self.do("evaluate", script)

    def click(self, selector: str) -> None:
        self.do("click", selector)

    def dismiss(self) -> None:
        """Close every dialog that is open (a kernel to choose, a connection that was lost)."""
        patience = '.jp-Dialog button:has-text("Continue waiting")'  # a document that loads slowly; the last is "Retry"
        while self.do("isVisible", ".jp-Dialog"):
            last = ".jp-Dialog .jp-Dialog-button >> nth=-1"
            self.do("click", patience if self.do("isVisible", patience) else last)
            self.do("waitForTimeout", 200)

    def click_through(self, selector: str, tries: int = 60) -> None:
        """Click, however many dialogs come up in between."""
        for _ in range(tries):
            self.dismiss()
            try:
                self.do("click", selector, {"timeout": 2000})
            except AssertionError:
                continue
            if not self.do("isVisible", ".jp-Dialog"):
                return
        raise AssertionError(f"{selector} could not be clicked")

    def screenshot(self, name: str) -> Path:
        """Kept under tests/artefacts, for people."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.do("screenshot", {"path": str(path)})
        return path

    def errors(self) -> list[str]:
        """Uncaught errors and console errors so far."""
        return list(self.do("log")["errors"])

    def requests(self) -> list[str]:
        """Every address asked so far."""
        return list(self.do("log")["requests"])
