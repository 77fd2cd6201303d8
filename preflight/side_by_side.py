"""Several calls at the same time, in daemon threads: one that hangs for ever must not keep the process from ending.

(`ThreadPoolExecutor` joins its threads at interpreter exit, so a hung transfer there would hang `preflight check`.)
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


def within(seconds: float, action: Callable[[], T]) -> T:
    """What `action()` returns, or TimeoutError after `seconds` (then it goes on in its thread and is not heard)."""
    ended: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()

    def call() -> None:
        try:
            ended.put((True, action()))
        except BaseException as raised:  # noqa: BLE001  # handed to the caller, who raises it
            ended.put((False, raised))

    threading.Thread(target=call, daemon=True).start()
    try:
        ok, result = ended.get(timeout=seconds)
    except queue.Empty as error:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from error
    if not ok:
        raise cast(BaseException, result)
    return cast(T, result)


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
