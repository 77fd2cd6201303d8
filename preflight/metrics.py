"""What Prometheus scrapes: the board and sync's status, in base units. A reading that is not there has no series."""

from __future__ import annotations

from collections.abc import Callable

from preflight.board import Board


def exposition(board: Board) -> Callable[[str], tuple[str, bytes]]:
    """A function from an Accept header to (content type, body)."""

    def render(accept: str) -> tuple[str, bytes]:
        return "text/plain; version=0.0.4; charset=utf-8", b""

    return render
