"""The command line for people, put together from the parts' own commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

EXIT_CODES = """Exit codes: 0 fine · 2 wrong settings, each named · `check`: 0 accept, 10 degraded, 20 reject ·
`probe`: 0 yes, 1 no · `sync`: see `preflight sync --help`. On a platform `up` never ends with an error."""

app = typer.Typer(
    name="preflight",
    help="Checks a rented node before JupyterLab opens, and keeps your folder saved in your bucket.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, epilog=EXIT_CODES)
def up(context: typer.Context) -> None:
    """Check this node, restore the folder, open JupyterLab and keep everything saved, until SIGTERM.

    `preflight up -- COMMAND…` runs any server or worker in JupyterLab's place; PREFLIGHT_READY_URL or
    PREFLIGHT_READY_FILE says when it is ready.
    """
    # `preflight up` alone, or with a command after --, never comes here: preflight.cli takes it the short way.
    sys.stderr.write(f"preflight: up does not know {context.args[0]!r}; put a command after --\n")
    raise typer.Exit(2)


@app.command(epilog="Exit codes: 0 yes · 1 no, or nothing answers · 2 wrong usage.")
def probe(
    kind: Annotated[str, typer.Argument(help="startup, live or ready")],
    timeout: Annotated[float, typer.Option(help="seconds")] = 3.0,
    quiet: Annotated[bool, typer.Option(help="print nothing")] = False,
) -> None:
    """Ask the running `preflight up`, for exec probes (starts in well under 150 ms)."""
    from preflight.probing import probe as ask

    raise typer.Exit(ask([kind, "--timeout", str(timeout), *(["--quiet"] if quiet else [])], os.environ))


@app.command(epilog="Exit codes: 0 accept · 10 degraded · 20 reject · 2 wrong settings.")
def check(
    as_json: Annotated[bool, typer.Option("--json", help="the report as one JSON document")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="a check, or a group such as `bucket`; may be repeated")
    ] = None,
) -> None:
    """Examine this node and report; acts on nothing."""
    from preflight import commands_checks, logs

    logs.configure(os.environ)
    raise typer.Exit(commands_checks.check(os.environ, as_json=as_json, only=only or ()))


@app.command(epilog="Exit codes: those of the verdict (0, 10, 20) · 1 there is no report yet.")
def report(as_json: Annotated[bool, typer.Option("--json", help="the document as /report serves it")] = False) -> None:
    """The last report of this node."""
    from preflight import commands_checks

    raise typer.Exit(commands_checks.report(os.environ, as_json=as_json))


@app.command()
def settings() -> None:
    """Every environment variable, its default and its meaning (Markdown)."""
    from preflight.variables import page

    sys.stdout.write(page())


def mount(first: str) -> None:
    """Add the commands of the other parts: all of them for `--help`, else only the one that is asked for."""
    everything = first in ("", "--help", "-h")
    if everything or first in ("history", "replay", "suggest"):
        from preflight.fleet_commands import app as fleet_app

        app.add_typer(fleet_app)
    if everything or first == "store":
        from sync.stores.cli import store_app

        app.add_typer(store_app)
    if everything or first == "sync":
        from sync.cli import app as sync_app

        app.add_typer(sync_app, name="sync", help="What is saved, what is not, and how to get things back.")
    if everything or first == "deploy":
        from preflight.deploy.cli import app as deploy_app

        app.add_typer(deploy_app, name="deploy", help="Create, change and read back deployments.")


def run(words: Sequence[str]) -> int:
    """Run one command; its exit code."""
    from sync.errors import SyncError

    mount(words[0] if words else "")
    try:
        app(args=list(words), prog_name="preflight")
    except SystemExit as done:
        return int(done.code or 0) if not isinstance(done.code, str) else 1
    except SyncError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0
