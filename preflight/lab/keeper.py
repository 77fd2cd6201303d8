"""In the background, once the folder is as the bucket has it: the notebooks come, and the user's packages come back."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflight.lab.packages import Packages, folder_commands, run_quietly
from preflight.lab.shipping import ship

log = logging.getLogger(__name__)


class Keeper:
    """`begin` once, then `record` now and then; both on threads of the pool, never on the event loop."""

    def __init__(self, data_dir: Path, state_dir: Path, config: Mapping[str, Any]) -> None:
        self._data_dir = data_dir
        self._state_dir = state_dir
        self._python = Path(config["kernel_python"]) if config.get("kernel_python") else None
        self._folder_requirements = bool(config.get("folder_requirements"))
        self._packages: Packages | None = None

    def begin(self) -> None:
        """Ship the notebooks, then install what the user had. Nothing here may cost a start: failures are logged."""
        ship(self._data_dir)
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
