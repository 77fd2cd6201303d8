"""`preflight-sync`: the sync child and the commands that talk to it. stdout is data, stderr is log."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sync.clock import SystemClock
from sync.control import call
from sync.errors import SyncError, Transient
from sync.logs import set_up_logging
from sync.names import stamp, unstamp
from sync.orders import TIMEOUT_S, ask_or_do, settings_or_exit, tell, with_store
from sync.settings import SyncSettings
from sync.status import STALE_AFTER_S, State, Status, read_status
from sync.stores.cli import store_app

if TYPE_CHECKING:
    from sync.inspection import Finding, Inspection
    from sync.work import World

EXIT_CODES = """Exit codes: 0 done · 2 bad settings · 3 partial (something is not saved yet, or the store does not
answer) · 11 lease lost to a newer node · 12 denied by credentials or policy · 20 held by a guard."""

app = typer.Typer(
    name="preflight-sync",
    help="Keeps a folder saved in your bucket within a second of every change.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(store_app)
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]


@app.callback(epilog=EXIT_CODES)
def top() -> None:
    """Keeps a folder saved in your bucket within a second of every change."""
    set_up_logging()


@app.command(epilog=EXIT_CODES)
def run(once: Annotated[bool, typer.Option(help="Restore, push what is new, and end.")] = False) -> None:
    """Restore the folder from the bucket, then keep it saved until SIGTERM."""
    from sync.child import run_child
    from sync.secrecy import hide_process

    hide_process()  # the bucket's keys are in our environment
    from sync.progress import shown

    settings = settings_or_exit()
    with shown(settings.state_dir):
        code = run_child(settings, once=once)
    raise typer.Exit(code)


@app.command(epilog=EXIT_CODES)
def status(as_json: Json = False) -> None:
    """What is saved, what is not, and why."""
    settings = settings_or_exit()
    found = read_status(settings.state_dir)
    if found is None:
        print("no sync process has run here", file=sys.stderr)
        raise typer.Exit(3)
    is_stale = SystemClock().now() - found.updated_at > STALE_AFTER_S
    if as_json:
        print(json.dumps({**json.loads(found.to_json()), "stale": is_stale}))
    else:
        print(*_status_lines(found, is_stale=is_stale), sep="\n")
    raise typer.Exit(3 if is_stale else code_of(found.state))


def code_of(state: State) -> int:
    """The exit code that a state means."""
    return {State.SAVED: 0, State.HELD: 20, State.FENCED: 11, State.FAILED: 12}.get(state, 3)


def _status_lines(found: Status, *, is_stale: bool) -> Iterable[str]:
    yield f"state      {found.state.value}" + (
        " (stale: the sync process does not report any more)" if is_stale else ""
    )
    yield f"store      {found.store or '-'}"
    if found.why:
        yield f"why        {found.why}"
    if found.hint:
        yield f"hint       {found.hint}"
    yield f"in bucket  {found.files} files, {found.bytes} bytes"
    yield f"pending    {found.pending_files} files, {found.pending_bytes} bytes, oldest {found.oldest_pending_s:.1f} s"
    for path in found.pending:
        yield f"           {path!r}"
    for note in cast("list[str]", found.capability.get("notes", [])):
        yield f"bucket     {note}"
    if found.held_count:
        yield f"held       {found.held_count} deletes"
    for conflict in found.conflicts:
        yield f"conflict   {conflict['path']!r}: the other content is in {conflict['copy']!r}"
    for problem in found.problems:
        yield f"problem    {problem['path']!r}: {problem['why']}"
    if found.problems_count > len(found.problems):
        yield f"           and {found.problems_count - len(found.problems)} problems more"
    for path in found.left_by_previous:
        yield f"lost       {path!r} was not saved when the node before this one vanished"
    for mirror in found.mirrors:
        yield f"mirror     {mirror['store']}: {mirror['state']}, {mirror['pending_files']} pending"
    requests = ", ".join(f"{verb} {count}" for verb, count in sorted(found.requests.items()))
    yield f"requests   {requests or '-'}; sent {found.bytes_sent} bytes, received {found.bytes_received} bytes"
    if found.cost_usd:
        parts = sorted(((cost, verb) for verb, cost in found.cost_usd.items() if cost > 0), reverse=True)
        named = ", ".join(f"{verb} {cost:.4f}" for cost, verb in parts)
        yield f"cost       about {sum(found.cost_usd.values()):.4f} USD at list prices since the start ({named or '-'})"


@app.command(epilog=EXIT_CODES)
def flush(timeout: Timeout = TIMEOUT_S["flush"], dry_run: DryRun = False, as_json: Json = False) -> None:
    """Save everything now; prints what could not be saved in time."""
    settings = with_store()
    if dry_run:
        _print_findings(_inspection(settings).would_push(), as_json=as_json)
        return
    answer = ask_or_do(settings, "flush", timeout)
    if as_json:
        print(json.dumps(answer))
        raise typer.Exit(int(answer["exit"]))
    raise typer.Exit(tell(answer))


@app.command(epilog=EXIT_CODES)
def pull(timeout: Timeout = TIMEOUT_S["pull"], dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring what is new in the bucket into the folder; local edits are kept."""
    settings = with_store()
    if dry_run:
        _print_findings(_inspection(settings).would_pull(), as_json=as_json)
        return
    raise typer.Exit(tell(ask_or_do(settings, "pull", timeout)))


@app.command(epilog=EXIT_CODES)
def release(timeout: Timeout = 30.0) -> None:
    """Let deletes go ahead that the guard holds back (the trash keeps the objects for 30 days)."""
    settings = with_store()
    answer = call(settings.state_dir, {"cmd": "release"}, timeout)
    print(f"{answer.get('released', 0)} deletes released")
    raise typer.Exit(int(answer["exit"]))


@app.command(epilog=EXIT_CODES)
def verify(as_json: Json = False) -> None:
    """Compare every file's content with the bucket; prints what is not saved as it is here."""
    inspection = _inspection(with_store())
    found = list(inspection.verify())
    _print_findings(found, as_json=as_json)
    print(f"{inspection.verified} files are in the bucket as they are here, {len(found)} are not", file=sys.stderr)
    raise typer.Exit(3 if found else 0)


@app.command(epilog=EXIT_CODES)
def explain(path: str) -> None:
    """Why a file is, or is not, saved."""
    settings = with_store()
    inside = os.path.relpath(os.path.abspath(os.path.join(settings.data_dir, path)), settings.data_dir)
    if inside == ".." or inside.startswith("../"):
        print(f"{path} is not in the data folder {settings.data_dir}", file=sys.stderr)
        raise typer.Exit(2)
    print(_inspection(settings).explain(inside))


@app.command(epilog=EXIT_CODES)
def conflicts(as_json: Json = False) -> None:
    """Files whose other content is kept beside them; delete or rename the copy to settle one."""
    found = read_status(with_store().state_dir)
    rows = list(found.conflicts) if found else []
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['path']}\t{row['copy']}\t{stamp(float(str(row['at'])))}")


@app.command(epilog=EXIT_CODES)
def trash(as_json: Json = False) -> None:
    """What was deleted in the last 30 days and can be brought back."""
    from sync.trash import discarded

    found = list(discarded(_world(with_store()).store))
    if as_json:
        print(json.dumps([{"path": d.path, "deleted_at": d.at, "size": d.size} for d in found]))
        return
    for item in found:
        print(f"{stamp(item.at)}\t{item.size}\t{item.path}")


@app.command(epilog=EXIT_CODES)
def restore(
    path: str,
    at: Annotated[str, typer.Option(help="As it was deleted not later than this (YYYYMMDDTHHMMSSZ).")] = "",
    dry_run: DryRun = False,
) -> None:
    """Bring a deleted file, or everything deleted below a folder, back into the folder; overwrites nothing."""
    from sync.trash import bring_back, discarded, newest

    until_s = unstamp(at) if at else None
    if at and until_s is None:
        print(f"--at {at}: must look like 20260131T235959Z", file=sys.stderr)
        raise typer.Exit(2)
    world = _world(with_store())
    found = newest(discarded(world.store), path, until_s)
    if not found:
        print(f"{path} is not in the trash", file=sys.stderr)
        raise typer.Exit(3)
    for item in found.values():
        print(item.path if dry_run else bring_back(item, world))


def _inspection(settings: SyncSettings) -> Inspection:
    from sync.inspection import Inspection

    return Inspection(settings, _world(settings).store)


def _world(settings: SyncSettings) -> World:
    from sync.child import open_retrying
    from sync.disk import DiskFiles
    from sync.settings import machine_name
    from sync.work import World

    clock = SystemClock()
    store = open_retrying(settings.stores[0], clock)
    return World(DiskFiles(settings.data_dir, clock), store, clock, machine_name(settings), lambda: None)


def _print_findings(found: Iterable[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"path": f.path, "what": f.what, "size": f.size} for f in found]))
        return
    for finding in found:
        print(f"{finding.what}\t{finding.size}\t{finding.path}")


def main() -> None:
    """Console script."""
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # file names are bytes
    try:
        app()
    except Transient as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
    except SyncError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
