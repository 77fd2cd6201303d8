"""The diagnostic notebooks come into the user's folder once, and never over something of the user's.

A record beside them (saved with the folder) tells what was shipped: a notebook that the user deleted stays away, one
that was never touched is updated in place, and for one that was edited or run the update arrives beside it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.lab.whole import atomic_writing

log = logging.getLogger(__name__)
FOLDER = "preflight-notebooks"
RECORD = ".shipped.json"
HERE = Path(__file__).resolve().parent
SUFFIXES = (".ipynb", ".cu")


@dataclass(frozen=True, slots=True)
class Shipment:
    """What to write where (name in the folder -> name of ours), and the record afterwards."""

    writes: Mapping[str, str]
    record: Mapping[str, str]


def plan_shipping(ours: Mapping[str, str], there: Mapping[str, str], record: Mapping[str, str]) -> Shipment:
    """Decide from digests alone (name -> digest): ours, the folder's, and what was shipped before. Pure."""
    writes: dict[str, str] = {}
    for name, digest in ours.items():
        shipped, found = record.get(name), there.get(name)
        if digest in (shipped, found):
            continue  # nothing new, or already there
        if shipped is None:
            if found is None:
                writes[name] = name
            # else: a file of the user's own by that name
        elif found == shipped:
            writes[name] = name  # never touched
        elif found is not None:
            beside = beside_name(name)
            if there.get(beside) != digest:
                writes[beside] = name
        # else: deleted by the user
    return Shipment(writes, {**record, **ours})


def beside_name(name: str) -> str:
    """`01_node_report.ipynb` -> `01_node_report (updated).ipynb`."""
    path = Path(name)
    return f"{path.stem} (updated){path.suffix}"


def source_folder() -> Path | None:
    """Where our notebooks are: in the package, or beside it in a checkout."""
    candidates = (HERE / "notebooks", HERE.parents[1] / "notebooks")
    return next((folder for folder in candidates if (folder / "00_start_here.ipynb").exists()), None)


def ship(data_dir: Path) -> int:
    """Bring the notebooks; how many files were written. Failing is not worth a start: it is logged."""
    source = source_folder()
    if source is None:
        return 0
    folder = data_dir / FOLDER
    try:
        ours = _digests(source)
        shipment = plan_shipping(ours, _digests(folder), _record(folder))
        if not shipment.writes and shipment.record == _record(folder):
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        for name, original in shipment.writes.items():
            with atomic_writing(folder / name, text=False) as file:
                file.write((source / original).read_bytes())
        with atomic_writing(folder / RECORD) as file:
            json.dump(dict(shipment.record), file, indent=1, sort_keys=True)
    except OSError as failed:
        log.warning("the diagnostic notebooks could not be written", extra={"why": str(failed)})
        return 0
    return len(shipment.writes)


def _digests(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and path.is_file()
    }


def _record(folder: Path) -> dict[str, str]:
    try:
        held = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in held.items()} if isinstance(held, dict) else {}
