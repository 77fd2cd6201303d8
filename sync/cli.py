"""`preflight-sync`: the sync child and the commands that talk to it. stdout is data, stderr is log."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from sync.errors import BadSettings, SyncError
from sync.settings import SyncSettings

EXIT_CODES = """Exit codes: 0 done · 3 partial (something is not saved yet, or the store does not answer) ·
11 lease lost to a newer node · 12 denied by credentials or policy · 20 held by a guard · 2 bad settings."""

app = typer.Typer(
    name="preflight-sync",
    help="Keeps a folder saved in your bucket within a second of every change.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def group() -> None:
    """With one command alone typer would drop its name."""


def settings_or_exit() -> SyncSettings:
    """The settings of this process, or exit code 2 with every problem on its own line."""
    try:
        return SyncSettings.load(os.environ)
    except BadSettings as bad:
        for problem in bad.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(2) from bad


@app.callback()
def top() -> None:
    """Keeps a folder saved in your bucket within a second of every change."""


@app.command(epilog=EXIT_CODES)
def run(
    once: Annotated[bool, typer.Option(help="Restore, push what is new, and end.")] = False,
) -> None:
    """Restore the folder from the bucket, then keep it saved until SIGTERM."""
    from sync.child import run_child

    raise typer.Exit(run_child(settings_or_exit(), once=once))


def main() -> None:
    """Console script."""
    try:
        app()
    except SyncError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
