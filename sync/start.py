"""The console script: what runs for days or must be quick starts without the command line's libraries.

They cost 15 MB for as long as the node lives, and 0.2 s a start: as much as sending 400 files.
"""

from __future__ import annotations

import gc
import sys

QUICK = (["run"], ["run", "--supervised"], ["flush"], ["pull"])


def main() -> None:
    """`preflight-sync`."""
    given = sys.argv[1:]
    is_supervised = given == ["run", "--supervised"]  # the supervisor draws the only bar and tells the story
    if given not in QUICK or (sys.stderr.isatty() and not is_supervised):  # on a terminal there are progress bars
        from sync.cli import main as command_line

        command_line()
        return
    gc.disable()  # what is imported stays: looking through it again and again finds nothing
    from sync.errors import SyncError
    from sync.logs import set_up_logging

    set_up_logging(is_supervised=is_supervised)
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # file names are bytes
    try:
        sys.exit(_do(given[0]))
    except SyncError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def _do(command: str) -> int:
    """The exit code of a command without options."""
    from sync.orders import TIMEOUT_S, ask_or_do, collect_again, settings_or_exit, tell, with_store

    if command != "run":
        return tell(ask_or_do(with_store(), command, TIMEOUT_S[command]))
    from sync.child import run_child
    from sync.secrecy import hide_process

    collect_again()
    hide_process()  # the bucket's keys are in our environment
    return run_child(settings_or_exit())
