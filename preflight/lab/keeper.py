"""In the background, once the folder is as the bucket has it: the notebooks come, and the user's packages come back."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflight.lab import line, signatures
from preflight.lab.generation import copies_of
from preflight.lab.packages import Packages, folder_commands, run_quietly
from preflight.lab.shipping import ship
from sync.control import socket_path

log = logging.getLogger(__name__)
TELL_WITHIN_S = 30.0


class Keeper:
    """`begin` once, then `record` now and then; both on threads of the pool, never on the event loop."""

    def __init__(self, data_dir: Path, state_dir: Path, config: Mapping[str, Any]) -> None:
        self._data_dir = data_dir
        self._state_dir = state_dir
        self._python = Path(config["kernel_python"]) if config.get("kernel_python") else None
        self._signatures = Path(config["signatures"]) if config.get("signatures") else None
        self._rtc = Path(config["rtc"]) if config.get("rtc") else None
        self._folder_requirements = bool(config.get("folder_requirements"))
        self._packages: Packages | None = None

    def begin(self) -> None:
        """Ship the notebooks, then install what the user had. Nothing here may cost a start: failures are logged."""
        ship(self._data_dir)
        self._tell_conflicts()
        if self._python is None:
            return
        try:
            packages = Packages(self._python, self._data_dir, self._state_dir)
            if self._folder_requirements:
                for command in folder_commands(self._data_dir, self._python):
                    if why := run_quietly(command):
                        log.warning("the folder's requirements could not be installed", extra={"why": why})
            progress = packages.replay(run_quietly)
        except (OSError, ValueError, subprocess.SubprocessError) as failed:
            log.warning("what was installed before cannot be known", extra={"why": str(failed)})
            return
        self._packages = packages
        log.info("packages", extra={"state": progress.state, "done": progress.done, "total": progress.total})

    def record(self) -> None:
        """Write down what is installed now, if it changed."""
        try:
            if self._packages is not None:
                self._packages.record()
        except (OSError, ValueError) as failed:
            log.warning("what is installed could not be recorded", extra={"why": str(failed)})

    def carry_trust(self) -> None:
        """Write down which notebooks are trusted, if that changed."""
        try:
            if self._signatures is not None:
                signatures.carry(self._signatures, self._data_dir)
        except (OSError, sqlite3.Error) as failed:
            log.warning("which notebooks are trusted could not be recorded", extra={"why": str(failed)})

    def _tell_conflicts(self) -> None:
        """Copies that the start made of documents are conflicts like any other: the panel shows them."""
        for path, copy in copies_of(self._rtc).items() if self._rtc is not None else ():
            if not (self._data_dir / copy).exists():
                continue
            try:
                line.ask(socket_path(self._state_dir), {"cmd": "conflict", "path": path, "copy": copy}, TELL_WITHIN_S)
            except line.NoAnswer as silence:
                log.warning("a conflict copy is not in the list", extra={"copy": copy, "why": str(silence)})
