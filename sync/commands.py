"""What the running child does when asked over its socket."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from sync.agenda import home
from sync.clock import Clock
from sync.engine import Engine
from sync.host import Host
from sync.names import is_ours
from sync.scanning import DEBOUNCE_MOST_S

SHOWN_OF_FOLDER = 10_000  # more rows than a file browser draws
DIRTY_WITHIN_S = 1.0


def answer(host: Host, request: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """The reply to one request: at least `ok`, and `exit` (the code that the command line returns)."""
    name = request.get("cmd")
    timeout_s = float(request.get("timeout_s", 60.0))
    match name:
        case "ping":
            return {"ok": True, "exit": 0}
        case "status":
            found = host.ask(lambda engine: {"status": json.loads(host.status().to_json())}, timeout_s)
            return {"ok": True, "exit": 0, **found} if found else _late(name)
        case "flush":
            return _flush(host, timeout_s, clock)
        case "pull":
            return _pull(host, timeout_s)
        case "release":
            return host.ask(_release, timeout_s) or _late(name)
        case "rescan":
            return host.ask(_rescan, timeout_s) or _late(name)
        case "dirty":
            return dirty(host, request, clock)
        case "conflict":
            path, copy, at_s = str(request.get("path")), str(request.get("copy")), clock.now()
            return host.ask(lambda engine: _conflict(engine, path, copy, at_s), timeout_s) or _late(name)
        case "waiting":
            folder = str(request.get("folder", "")).strip("/")
            return host.ask(lambda engine: _waiting(engine, folder), timeout_s) or _late(name)
        case _:
            return {"ok": False, "exit": 2, "why": f"there is no command {name!r}"}


def dirty(host: Host, request: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """A writer names paths of the folder that it has just saved, renamed or deleted: looked at without any wait."""
    paths = request.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return {"ok": False, "exit": 2, "why": "dirty: paths is a list of paths in the folder"}
    told = [path for path in paths if path and not is_ours(path) and ".." not in path.split("/")]

    def look(engine: Engine) -> dict[str, Any]:
        now_s = clock.monotonic()
        for path in told:
            engine.agenda.note_whole(path)
            engine.resting.pop(home(path), None)
            engine.mark_now(home(path), now_s)
        if told:
            engine.dirty_first_s = now_s - DEBOUNCE_MOST_S
            engine.wake()
        return {"ok": True, "exit": 0, "told": len(told)}

    return host.ask(look, DIRTY_WITHIN_S) or _late("dirty")


def _conflict(engine: Engine, path: str, copy: str, at_s: float) -> dict[str, Any]:
    """Somebody beside the sync kept a second content of `path` as `copy`: people see it with the other conflicts."""
    engine.journal.add_conflict(path, copy, at_s)
    return {"ok": True, "exit": 0}


def _waiting(engine: Engine, folder: str) -> dict[str, Any]:
    """What in one folder is not in the bucket yet: its files, and its folders that hold such files."""
    files, folders = engine.agenda.waiting_in(folder)
    return {"ok": True, "exit": 0, "files": files[:SHOWN_OF_FOLDER], "folders": folders[:SHOWN_OF_FOLDER]}


def _late(name: object) -> dict[str, Any]:
    return {"ok": False, "exit": 3, "why": f"{name}: no answer in time"}


def _rescan(engine: Engine) -> dict[str, Any]:
    engine.rescan()
    return {"ok": True, "exit": 0}


def _release(engine: Engine) -> dict[str, Any]:
    count = engine.held.count if engine.held else 0
    engine.is_released = engine.held is not None
    return {"ok": True, "exit": 0, "released": count}


def unsaved(engine: Engine) -> dict[str, Any]:
    """What a flush could not save, with the exit code that says why."""
    names = [p for p in engine.agenda.pending if not p.endswith("/")]
    code = 0
    if engine.lease.is_lost:
        code = 11
    elif names or not engine.restored:
        code = engine.outage.error.exit_code if engine.outage is not None and engine.is_offline() else 3
    elif engine.held is not None:
        code = 20
    elif not engine.is_idle():
        code = 3
    why = str(engine.outage.error) if engine.outage is not None else engine.held.why if engine.held else ""
    return {"ok": code == 0, "exit": code or 0, "unsaved": names[:1000], "unsaved_count": len(names), "why": why}


def _flush(host: Host, timeout_s: float, clock: Clock) -> dict[str, Any]:
    deadline_s = clock.monotonic() + timeout_s
    begun: list[int] = []

    def flush(engine: Engine) -> dict[str, Any] | None:
        now_s = clock.monotonic()
        if not begun:
            if engine.restored:
                begun.append(engine.walks_done)
                engine.rescan()
            elif now_s >= deadline_s:
                return unsaved(engine)
            else:
                return None
        engine.agenda.hurry(now_s)
        engine.is_hurried = True
        is_settled = engine.walks_done > begun[0] and (
            engine.is_idle() or (engine.held is not None and not (engine.agenda.pending or engine.busy or engine.dirty))
        )
        if is_settled or now_s >= deadline_s or engine.lease.is_lost:
            engine.is_hurried = False
            return unsaved(engine)
        return None

    return host.ask(flush, timeout_s + 5.0) or _late("flush")


def _pull(host: Host, timeout_s: float) -> dict[str, Any]:
    begun: list[bool] = []

    def pull(engine: Engine) -> dict[str, Any] | None:
        if not begun:
            begun.append(True)
            engine.wants_pull = True
            return None
        if engine.wants_pull or engine.restore is not None or not engine.restored:
            if engine.outage is not None and engine.is_offline():
                engine.wants_pull = False
                return {"ok": False, "exit": engine.outage.error.exit_code, "why": str(engine.outage.error)}
            return None
        return {"ok": True, "exit": 0, **dataclasses.asdict(engine.last_progress)}

    return host.ask(pull, timeout_s) or _late("pull")
