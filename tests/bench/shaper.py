"""A slow line on this machine: a TCP relay with a round trip and a bandwidth, shared by all its connections."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_PIECE_BYTES = 16 << 10
_WINDOW_PIECES = 256  # on the way in one direction of one connection: 4 MiB, more than any line here holds


@dataclass(frozen=True, slots=True)
class Line:
    """Round trip in seconds; bytes a second up (from the node) and down."""

    rtt_s: float
    up_bytes_s: float
    down_bytes_s: float

    def __str__(self) -> str:
        return f"RTT {self.rtt_s * 1000:.0f} ms, {self.up_bytes_s * 8 / 1e6:.0f} Mbit/s up"


class _Pipe:
    """One direction of the line: pieces leave one after the other at its rate and arrive half a round trip later."""

    def __init__(self, bytes_s: float, delay_s: float) -> None:
        self._bytes_s = bytes_s
        self._delay_s = delay_s
        self._free_at = 0.0

    def arrival(self, now: float, size_bytes: int) -> float:
        self._free_at = max(now, self._free_at) + size_bytes / self._bytes_s
        return self._free_at + self._delay_s


class Shaper:
    """Relays to `host:port` over `line`; a new connection costs its handshake's round trip first.

    with Shaper("127.0.0.1", 9000, line) as shaper: ... shaper.port
    """

    def __init__(self, host: str, port: int, line: Line) -> None:
        self._target = (host, port)
        self._line = line
        self._up = _Pipe(line.up_bytes_s, line.rtt_s / 2)
        self._down = _Pipe(line.down_bytes_s, line.rtt_s / 2)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Shaper:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._wait(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await asyncio.sleep(self._line.rtt_s)
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as both:
                for source, sink, pipe in ((reader, far_writer, self._up), (far_reader, writer, self._down)):
                    both.create_task(self._carry(source, sink, pipe))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass  # the ends see their connection closed; the relay has nothing to add
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pipe: _Pipe) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WINDOW_PIECES)

        async def send() -> None:
            while True:
                piece = await source.read(_PIECE_BYTES)
                await on_the_way.put((pipe.arrival(self._loop.time(), len(piece)), piece))
                if not piece:
                    return

        async def arrive() -> None:
            while True:
                due, piece = await on_the_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not piece:
                    with contextlib.suppress(OSError):
                        sink.write_eof()
                    return
                sink.write(piece)
                await sink.drain()

        async with asyncio.TaskGroup() as ends:
            ends.create_task(send())
            ends.create_task(arrive())
