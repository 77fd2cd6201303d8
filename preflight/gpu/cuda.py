"""The CUDA driver by ctypes: only libcuda.so.1, none of the toolkit. Used in GPU children only.

Decision and its reasons: docs/decisions/0300-ctypes-on-libcuda.md. Every call that answers anything but 0 raises
CallFailed with the driver's own number. The library is `libcuda.so.1`, or PREFLIGHT_CUDA_LIB.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p

from preflight.gpu.stages import CallFailed

LIBRARY_VARIABLE = "PREFLIGHT_CUDA_LIB"
SONAME = "libcuda.so.1"
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
LIBRARY_MISSING = -1  # our own codes: the driver numbers from 0
NO_TIME = -2  # the device's clock stands still
WRONG_RESULT = -3  # a known kernel wrote something else

# Numbers of CUdevice_attribute (cuda.h).
ATTRIBUTES = {
    "clock_khz": 13,
    "sm_count": 16,
    "integrated": 18,
    "ecc": 32,
    "tcc": 35,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "capability_major": 75,
    "capability_minor": 76,
}

_JIT_ERROR_LOG, _JIT_ERROR_LOG_BYTES = 5, 6
_LOG_BYTES = 2048


class Driver:
    """One loaded libcuda and, after `open_device`, one context on one device."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get(LIBRARY_VARIABLE) or SONAME
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise CallFailed("dlopen", LIBRARY_MISSING, str(error)) from error
        self._call("cuInit", c_uint(0))

    def _call(self, name: str, *arguments: object) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise CallFailed(name, LIBRARY_MISSING, "this driver does not have it") from error
        code = function(*arguments)
        if code:
            raise CallFailed(name, int(code), self._name_of(int(code)))

    def _name_of(self, code: int) -> str:
        text = c_char_p()
        function = getattr(self._library, "cuGetErrorName", None)
        if function is None or function(c_int(code), byref(text)) or not text.value:
            return ""
        return text.value.decode("ascii", "replace")

    def version(self) -> int:
        """The driver's own CUDA number: 13010 is 13.1."""
        number = c_int()
        self._call("cuDriverGetVersion", byref(number))
        return number.value

    def count(self) -> int:
        """Devices this process may use."""
        number = c_int()
        self._call("cuDeviceGetCount", byref(number))
        return number.value

    def open_device(self, ordinal: int) -> dict[str, object]:
        """Makes a context on it, the current one of this thread. Its name, memory in bytes and attributes (those
        the driver tells)."""
        device = c_int()
        self._call("cuDeviceGet", byref(device), c_int(ordinal))
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, c_int(256), device)
        told: dict[str, object] = {"name": name.value.decode("utf-8", "replace")}
        for key, number in ATTRIBUTES.items():
            value = c_int()
            try:
                self._call("cuDeviceGetAttribute", byref(value), c_int(number), device)
            except CallFailed:
                continue
            told[key] = value.value
        context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._call("cuCtxSetCurrent", context)
        return told

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes as the context sees them."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def synchronize(self) -> None:
        """Waits for everything; raises what a launch before it did wrong."""
        self._call("cuCtxSynchronize")

    def load(self, ptx: bytes) -> Module:
        """Compiles PTX. CallFailed 218 (bad PTX), 222 (too new for the driver), 221 (no compiler)."""
        log = ctypes.create_string_buffer(_LOG_BYTES)
        options = (c_int * 2)(_JIT_ERROR_LOG, _JIT_ERROR_LOG_BYTES)
        values = (c_void_p * 2)(ctypes.addressof(log), _LOG_BYTES)
        module = c_void_p()
        try:
            self._call("cuModuleLoadDataEx", byref(module), c_char_p(ptx), c_uint(2), options, values)
        except CallFailed as failure:
            said = log.value.decode("utf-8", "replace").strip()
            raise CallFailed(failure.call, failure.code, f"{failure.why} {said}".strip()) from failure
        return Module(self, module)

    def allocate(self, size_bytes: int) -> int:
        """The device address of fresh memory. CallFailed 2 when there is no room."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(size_bytes))
        return address.value

    def free(self, address: int) -> None:
        """Gives memory back."""
        self._call("cuMemFree_v2", c_uint64(address))

    def allocate_host(self, size_bytes: int) -> int:
        """The host address of pinned memory."""
        address = c_void_p()
        self._call("cuMemHostAlloc", byref(address), c_size_t(size_bytes), c_uint(0))
        return address.value or 0

    def free_host(self, address: int) -> None:
        """Gives pinned memory back."""
        self._call("cuMemFreeHost", c_void_p(address))

    def to_device(self, address: int, host: int, size_bytes: int) -> None:
        """Queues a copy."""
        self._call("cuMemcpyHtoDAsync_v2", c_uint64(address), c_void_p(host), c_size_t(size_bytes), c_void_p())

    def to_host(self, host: int, address: int, size_bytes: int) -> None:
        """Queues a copy."""
        self._call("cuMemcpyDtoHAsync_v2", c_void_p(host), c_uint64(address), c_size_t(size_bytes), c_void_p())

    def zero(self, address: int, words: int) -> None:
        """Queues the zeroing of 32-bit words."""
        self._call("cuMemsetD32Async", c_uint64(address), c_uint(0), c_size_t(words), c_void_p())

    def words(self, address: int, count: int) -> list[int]:
        """32-bit words of the device's memory, after all work before."""
        into = (c_uint * count)()
        self.to_host(ctypes.addressof(into), address, 4 * count)
        self.synchronize()
        return list(into)

    def event(self) -> Event:
        """A new point in time on the device."""
        handle = c_void_p()
        self._call("cuEventCreate", byref(handle), c_uint(0))
        return Event(self, handle)


class Event:
    """A point in the device's own time."""

    def __init__(self, driver: Driver, handle: c_void_p) -> None:
        self._driver, self._handle = driver, handle

    def record(self) -> None:
        """Marks now, in the order of the queued work."""
        self._driver._call("cuEventRecord", self._handle, c_void_p())

    def seconds_since(self, earlier: Event) -> float:
        """Waits for this event; device seconds between the two."""
        self._driver._call("cuEventSynchronize", self._handle)
        milliseconds = c_float()
        self._driver._call("cuEventElapsedTime", byref(milliseconds), earlier._handle, self._handle)
        return milliseconds.value / 1000.0


class Module:
    """Compiled kernels."""

    def __init__(self, driver: Driver, handle: c_void_p) -> None:
        self._driver, self._handle = driver, handle

    def kernel(self, name: str) -> Kernel:
        """One of them. CallFailed 500 when it is not there."""
        function = c_void_p()
        self._driver._call("cuModuleGetFunction", byref(function), self._handle, c_char_p(name.encode()))
        return Kernel(self._driver, function)


class Kernel:
    """Something to launch. Arguments are c_uint or c_uint64 values, in the kernel's order."""

    def __init__(self, driver: Driver, handle: c_void_p) -> None:
        self._driver, self._handle = driver, handle

    def launch(self, blocks: int, threads: int, arguments: Sequence[c_uint | c_uint64]) -> None:
        """Queues it on a grid of blocks of threads."""
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        grid = (c_uint(blocks), c_uint(1), c_uint(1), c_uint(threads), c_uint(1), c_uint(1))
        self._driver._call("cuLaunchKernel", self._handle, *grid, c_uint(0), c_void_p(), pointers, c_void_p())
