"""Several calls at the same time, in daemon threads: one that hangs for ever must not keep the process from ending.

(`ThreadPoolExecutor` joins its threads at interpreter exit, so a hung transfer there would hang `preflight check`.)
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


def each(count: int, action: Callable[[int], None]) -> None:
    """Call `action(0)` … `action(count - 1)` at once and wait for all. Raises the first error that came."""
    if count == 1:
        action(0)
        return
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def call(number: int) -> None:
        error: BaseException | None = None
        try:
            action(number)
        except BaseException as raised:  # noqa: BLE001  # handed to the caller, who raises it
            error = raised
        ended.put(error)

    for number in range(count):
        threading.Thread(target=call, args=(number,), daemon=True).start()
    first: BaseException | None = None
    for _ in range(count):
        error = ended.get()
        first = first or error
    if first is not None:
        raise first
