"""The console script: the child that lives for days starts without the command line's libraries (13 MB)."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """`preflight-sync`."""
    is_supervised = sys.argv[1:] == ["run", "--supervised"]  # the supervisor draws the only bar and tells the story
    if not is_supervised and (sys.argv[1:] != ["run"] or sys.stderr.isatty()):  # on a terminal there are progress bars
        from sync.cli import main as command_line

        command_line()
        return
    from sync.child import run_child
    from sync.errors import BadSettings, SyncError
    from sync.logs import set_up_logging
    from sync.secrecy import hide_process
    from sync.settings import SyncSettings

    hide_process()  # the bucket's keys are in our environment
    set_up_logging(is_supervised=is_supervised)
    try:
        sys.exit(run_child(SyncSettings.load(os.environ)))
    except BadSettings as bad:
        sys.stderr.writelines(f"{problem}\n" for problem in bad.problems)
        sys.exit(2)
    except SyncError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
