"""What sync is told from outside, read once and checked whole: every fault of the environment in one answer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sync.errors import BadSettings

if TYPE_CHECKING:
    from sync.stores.config import StoreConfig

EMBEDDED_BUCKET = Path(".local") / "bucket"


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Checked settings. Durations in seconds, sizes in bytes. `stores[0]` is pulled from; the rest are mirrors."""

    stores: tuple[StoreConfig, ...]
    data_dir: Path
    state_dir: Path
    machine: str = ""  # SALAD_MACHINE_ID; "" until `machine_name` made one up
    flush_timeout_s: float = 30.0  # Salad grants 30 s between SIGTERM and SIGKILL
    guard_files: int = 50  # a burst of deletes is held when it is more than this many files ...
    guard_ratio: float = 0.5  # ... and more than this share of the tree
    guard_release_s: float = 86_400.0  # held deletes go ahead after a day (the trash keeps them 30 more)
    trash_keep_s: float = 30 * 86_400.0
    bandwidth_bytes_per_s: int | None = None  # of uploads; None: no limit
    workers: int = 48  # threads; past 16 only where a request takes long (crew.py)

    @classmethod
    def load(cls, environ: Mapping[str, str], *, cwd: Path | None = None) -> SyncSettings:
        """Settings from the environment.

        Raises:
            BadSettings: with all problems at once, each naming its variable.
        """
        from sync.stores.variables import store_configs  # here, so that reading settings costs no vendor import

        problems: list[str] = []
        here = cwd or Path.cwd()
        stores: tuple[StoreConfig, ...] = ()
        try:
            stores = tuple(store_configs(environ))
            if not stores and environ.get("PREFLIGHT_EMBEDDED_STORE", "1") != "0":
                stores = tuple(store_configs({"PREFLIGHT_STORE": f"file://{here / EMBEDDED_BUCKET}"}))
        except BadSettings as bad:
            problems += bad.problems
        data_dir = _folder(environ, "PREFLIGHT_DATA_DIR", here / ".local" / "data", problems)
        state_dir = _folder(environ, "PREFLIGHT_STATE_DIR", here / ".local" / "state", problems)
        if data_dir == state_dir or data_dir in state_dir.parents:
            problems.append(
                f"PREFLIGHT_STATE_DIR: {state_dir} lies inside the data folder {data_dir}; it must be outside of it"
            )
        flush = _number(environ, "PREFLIGHT_FLUSH_TIMEOUT_S", 30.0, problems, least=0.0)
        guard_files = _number(environ, "PREFLIGHT_GUARD_FILES", 50.0, problems, least=0.0)
        guard_ratio = _number(environ, "PREFLIGHT_GUARD_RATIO", 0.5, problems, least=0.0, most=1.0)
        release = _number(environ, "PREFLIGHT_GUARD_RELEASE_S", 86_400.0, problems, least=0.0)
        bandwidth = _number(environ, "PREFLIGHT_SYNC_BANDWIDTH_BYTES_PER_S", 0.0, problems, least=0.0)
        workers = _number(environ, "PREFLIGHT_SYNC_WORKERS", 48.0, problems, least=1.0, most=256.0)
        if problems:
            raise BadSettings(problems)
        return cls(
            stores=stores,
            data_dir=data_dir,
            state_dir=state_dir,
            machine=environ.get("SALAD_MACHINE_ID", "").strip(),
            flush_timeout_s=flush,
            guard_files=int(guard_files),
            guard_ratio=guard_ratio,
            guard_release_s=release,
            bandwidth_bytes_per_s=int(bandwidth) or None,
            workers=int(workers),
        )


def machine_name(settings: SyncSettings) -> str:
    """The name of this node in leases and conflict copies; made up once where the platform gives none."""
    if settings.machine:
        return settings.machine
    path = settings.state_dir / "sync" / "machine"
    try:
        return path.read_text().strip() or _new_name(path)
    except OSError:
        return _new_name(path)


def _new_name(path: Path) -> str:
    name = f"node-{secrets.token_hex(4)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    return name


def _folder(environ: Mapping[str, str], variable: str, default: Path, problems: list[str]) -> Path:
    raw = environ.get(variable, "").strip()
    if not raw:
        return default
    if "\0" in raw:
        problems.append(f"{variable}: a path cannot hold a NUL byte")
        return default
    path = Path(os.path.abspath(os.path.expanduser(raw)))
    if path == Path("/"):
        problems.append(f"{variable}: the whole disk cannot be synced; name a folder")
    elif path.exists() and not path.is_dir():
        problems.append(f"{variable}: {path} is not a folder")
    return path


def _number(
    environ: Mapping[str, str],
    variable: str,
    default: float,
    problems: list[str],
    *,
    least: float,
    most: float | None = None,
) -> float:
    raw = environ.get(variable, "").strip()
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        problems.append(f"{variable}: {raw!r} is not a number")
        return default
    if not value >= least or (most is not None and value > most) or value == float("inf"):
        bound = f"at least {least:g}" if most is None else f"between {least:g} and {most:g}"
        problems.append(f"{variable}: {raw} must be {bound}")
        return default
    return value
