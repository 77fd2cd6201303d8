"""What people see of a start: a table, a verdict, a progress bar, an address. Plain log lines where there is no TTY."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from sync.clock import Clock
from sync.status import Progress

log = logging.getLogger(__name__)
PROGRESS_EVERY_S = 5.0


class Face(Protocol):
    """Where the start is told."""

    def finding(self, finding: Mapping[str, Any]) -> None: ...

    def verdict(self, report: Mapping[str, Any]) -> None: ...

    def restore(self, progress: Progress, *, done: bool) -> None: ...

    def opening(self, url: str, password: str | None, title: str) -> None: ...

    def problem(self, text: str) -> None: ...

    def say(self, text: str) -> None:
        """A sentence for somebody who watches; the log has its own words for it."""


class Lines:
    """One log record a fact, for containers and pipes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_s = 0.0
        self._done = False

    def finding(self, finding: Mapping[str, Any]) -> None:
        status = finding.get("status")
        level = {"fail": logging.WARNING, "warn": logging.WARNING, "skip": logging.DEBUG}.get(str(status), logging.INFO)
        shown = ("name", "status", "blame", "observed", "required", "unit", "why", "advice", "took_s")
        log.log(
            level,
            "check finished",
            extra={"check": {key: finding[key] for key in shown if finding.get(key) not in (None, "")}},
        )

    def verdict(self, report: Mapping[str, Any]) -> None:
        action = report.get("action") or {}
        level = logging.INFO if report.get("verdict") == "accept" else logging.WARNING
        log.log(level, "verdict", extra={
            "verdict": report.get("verdict"), "machine": report.get("machine"), "platform": report.get("platform"),
            "took_s": report.get("took_s"), "action": action.get("kind"), "outcome": action.get("outcome"),
            "reasons": [finding.get("why") for finding in report.get("findings", ())],
        })  # fmt: skip

    def restore(self, progress: Progress, *, done: bool) -> None:
        now_s = self._clock.monotonic()
        if self._done or (now_s < self._next_s and not done):
            return
        self._next_s, self._done = now_s + PROGRESS_EVERY_S, done
        log.info("the folder is restored" if done else "restoring the folder", extra={
            "files_done": progress.files_done, "files_total": progress.files_total,
            "bytes_done": progress.bytes_done, "bytes_total": progress.bytes_total,
        })  # fmt: skip

    def opening(self, url: str, password: str | None, title: str) -> None:
        extra = {"url": url} | ({"password": password} if password else {})
        log.info(
            f"{title} is open" if not password else f"{title} is open; its password was made just now", extra=extra
        )

    def problem(self, text: str) -> None:
        log.error("wrong settings", extra={"problem": text})

    def say(self, text: str) -> None:
        """Nobody watches."""


class Screen:
    """For a terminal, on standard error, so that the log does not tear the bar.

    The child that runs the checks writes to the same terminal, so table and verdict are there already.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Any = None
        self._task: Any = None
        self._done = False

    def finding(self, finding: Mapping[str, Any]) -> None:
        """Shown by the child."""

    def verdict(self, report: Mapping[str, Any]) -> None:
        """Shown by the child."""

    def restore(self, progress: Progress, *, done: bool) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress as Bar, TextColumn, TimeRemainingColumn  # noqa: I001

        if self._done:
            return
        if done and not progress.files_done:
            self._end_bar()
            self._console.print("The bucket holds nothing yet: the folder starts as it is.")
            return
        if self._bar is None:
            self._bar = Bar(
                TextColumn("Restoring"),
                BarColumn(),
                DownloadColumn(),
                TextColumn("{task.fields[files]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("restore", total=None, files="")
            self._bar.start()
        total = "?" if progress.files_total is None else str(progress.files_total)
        bytes_total = progress.bytes_total if not done else progress.bytes_done or 1
        self._bar.update(
            self._task, completed=progress.bytes_done if not done or progress.bytes_done else 1, total=bytes_total,
            files=f"{progress.files_done}/{total} files",
        )  # fmt: skip
        if done:
            self._end_bar()

    def _end_bar(self) -> None:
        if self._bar is not None and not self._done:
            self._bar.stop()
        self._done = True

    def opening(self, url: str, password: str | None, title: str) -> None:
        self._end_bar()
        self._console.print(f"\n  {title} is open: [bold]{url}[/]", highlight=False)
        if password:
            self._console.print(
                f"  Password (made just now, shown once): [bold]{password}[/]\n", highlight=False, markup=True
            )

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def problem(self, text: str) -> None:
        self._console.print(f"✗ {text}", style="bold red", highlight=False, markup=False)


def face(clock: Clock) -> Face:
    """A screen on a terminal, log lines elsewhere."""
    return Screen() if sys.stderr.isatty() else Lines(clock)
