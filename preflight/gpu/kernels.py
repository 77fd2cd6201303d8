"""The kernels (kernels.cu, kept compiled to PTX text in kernels.ptx), and how each is launched."""

from __future__ import annotations

from ctypes import c_uint, c_uint64
from pathlib import Path

from preflight.gpu.cuda import Driver

PTX_PATH = Path(__file__).with_name("kernels.ptx")
FOUND_WORDS = 4
_THREADS = 256
_WORD = (1 << 32) - 1


class Kernels:
    """Compiled on one device. `sm_count` sets the grid: eight blocks a multiprocessor fill any of them."""

    def __init__(self, driver: Driver, sm_count: int) -> None:
        module = driver.load(PTX_PATH.read_bytes() + b"\0")
        self._fill = module.kernel("preflight_fill")
        self._check = module.kernel("preflight_check")
        self._burn = module.kernel("preflight_burn")
        self._blocks = 8 * max(1, sm_count)
        self.burn_threads = 4 * _THREADS * max(1, sm_count)

    def fill(self, address: int, size_bytes: int, first_word: int, kind: int, seed: int) -> None:
        """Queues the writing of a pattern; sizes in whole 16 bytes."""
        arguments = (
            c_uint64(address),
            c_uint(size_bytes // 16),
            c_uint(first_word & _WORD),
            c_uint(kind),
            c_uint(seed),
        )
        self._fill.launch(self._blocks, _THREADS, arguments)

    def check(self, address: int, size_bytes: int, first_word: int, kind: int, seed: int, found: int) -> None:
        """Queues the comparison with that pattern; `found` is the address of FOUND_WORDS zeroed words."""
        arguments = (
            c_uint64(address),
            c_uint(size_bytes // 16),
            c_uint(first_word & _WORD),
            c_uint(kind),
            c_uint(seed),
            c_uint64(found),
        )
        self._check.launch(self._blocks, _THREADS, arguments)

    def burn(self, out: int, iterations: int) -> None:
        """Queues a burn of `burn_threads` threads, one result word each."""
        arguments = (c_uint64(out), c_uint(self.burn_threads), c_uint(iterations))
        self._burn.launch(self.burn_threads // _THREADS, _THREADS, arguments)


def burn_operations(threads: int, iterations: int) -> int:
    """Floating-point operations of a burn: eight multiply-adds an iteration, two operations each."""
    return 16 * threads * iterations
