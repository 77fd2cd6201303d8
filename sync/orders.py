"""`flush` and `pull` as commands: the running child does them, or this process for once."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from sync.control import call, is_running
from sync.errors import BadSettings
from sync.settings import SyncSettings

TIMEOUT_S = {"flush": 60.0, "pull": 3600.0}


def settings_or_exit() -> SyncSettings:
    """The settings of this process, or exit code 2 with every problem on its own line."""
    try:
        return SyncSettings.load(os.environ)
    except BadSettings as bad:
        sys.stderr.writelines(f"{problem}\n" for problem in bad.problems)
        sys.exit(2)


def collect_again() -> None:
    """Let the collector loose that a quick start held back; what was imported stays out of its sight."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def with_store() -> SyncSettings:
    """The same, and exit code 2 without a store."""
    settings = settings_or_exit()
    if not settings.stores:
        sys.stderr.write("no bucket is configured: nothing is saved\n")
        sys.exit(2)
    return settings


def ask_or_do(settings: SyncSettings, command: str, timeout_s: float) -> dict[str, Any]:
    """The running child's answer; without one, a short life of our own that restores and pushes."""
    from sync.child import run_child
    from sync.progress import shown

    with shown(settings.state_dir):
        if is_running(settings.state_dir):
            return call(settings.state_dir, {"cmd": command, "timeout_s": timeout_s}, timeout_s + 10.0)
        collect_again()
        code = run_child(settings, once=True, timeout_s=timeout_s)
    return {"ok": code == 0, "exit": code}


def tell(answer: dict[str, Any]) -> int:
    """Print what could not be done; the exit code."""
    if answer.get("why"):
        sys.stderr.write(f"{answer['why']}\n")
    sys.stdout.writelines(f"{path}\n" for path in answer.get("unsaved", ()))
    return int(answer.get("exit", 0))
