"""Whether the folder is the one that the journal speaks of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sync.errors import SyncError
from sync.work import Failed

if TYPE_CHECKING:
    from sync.engine import Engine

log = logging.getLogger(__name__)


def verify_root(engine: Engine) -> bool:
    """Whether the folder is the one that the journal speaks of. If not, the journal proves nothing: restore."""
    try:
        marker = engine.files.read_marker()
    except OSError:
        return False
    is_same_boot = not engine.boot or engine.journal.fact("boot") in (None, engine.boot)
    if marker is not None and marker == engine.journal.fact("folder") and is_same_boot:
        if engine.boot and engine.journal.fact("boot") is None:
            engine.journal.set_fact("boot", engine.boot)
        return True
    if engine.restored:
        log.error("The folder is not the one that was synced; it is restored and nothing is deleted")
    if engine.busy:  # what is under way belongs to the folder that is gone: its answers come before the fresh start
        engine.restored = False
        engine.restore = None
        return False
    engine.journal.forget()
    engine.doubts.clear()
    engine.agenda.clear()
    engine.scanner.forget()
    engine.walk = None
    engine.walks_done = 0
    engine.held = None
    engine.restored = False
    engine.restore = None
    marker = marker or engine.new_id()
    try:
        engine.files.write_marker(marker)
    except OSError as error:
        failed = SyncError(f"The data folder cannot be written: {error.strerror}", hint="check PREFLIGHT_DATA_DIR")
        engine.post(Failed("", failed))
        return False
    engine.journal.set_fact("folder", marker)
    engine.journal.set_fact("boot", engine.boot)
    return True
