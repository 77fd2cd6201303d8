"""Runs PTX text on the CPU, one thread at a time: enough of the language for preflight/gpu/kernels.ptx.

Written from NVIDIA's "Parallel Thread Execution ISA", for the tests alone: it shows that the text in the package
computes what its source says, on a machine without a GPU. Unknown instructions raise.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from preflight.gpu.reference import fused_multiply_add

_SIZES = {"u32": 4, "s32": 4, "b32": 4, "f32": 4, "u64": 8, "s64": 8, "b64": 8}


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _float(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def _bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


@dataclass
class Grid:
    """One kernel's launch: memory is bytes from address 0; `arguments` in the kernel's order."""

    memory: bytearray
    arguments: Sequence[int]
    blocks: int = 1
    threads: int = 1
    steps: int = field(default=0)

    def word(self, address: int) -> int:
        return int.from_bytes(self.memory[address : address + 4], "little")

    def store(self, address: int, value: int, size: int = 4) -> None:
        if not 0 <= address <= len(self.memory) - size:
            raise IndexError(f"address {address:#x} is outside")
        self.memory[address : address + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


class Program:
    """The entries of a PTX module."""

    def __init__(self, text: str) -> None:
        self._bodies: dict[str, list[str]] = {}
        for name, body in re.findall(r"\.entry (\w+)\([^)]*\)\s*\{(.*?)^\}", text, re.S | re.M):
            lines = [line.split("//")[0].strip() for line in body.splitlines()]
            # Operand groups in braces hold no semicolon, so a line is an instruction, a label or a declaration.
            self._bodies[name] = [line for line in lines if line and not line.startswith((".reg", ".pragma"))]

    def run(self, name: str, grid: Grid) -> None:
        """Every thread of the grid, one after another."""
        lines = self._bodies[name]
        labels = {line[:-1]: number for number, line in enumerate(lines) if line.endswith(":")}
        for block in range(grid.blocks):
            for thread in range(grid.threads):
                _Thread(name, lines, labels, grid, block, thread).run()


class _Thread:
    def __init__(
        self, name: str, lines: list[str], labels: dict[str, int], grid: Grid, block: int, thread: int
    ) -> None:
        self._name, self._lines, self._labels, self._grid = name, lines, labels, grid
        self._registers: dict[str, int] = {
            "%ntid.x": grid.threads,
            "%nctaid.x": grid.blocks,
            "%ctaid.x": block,
            "%tid.x": thread,
        }

    def run(self) -> None:
        at = 0
        while True:
            line = self._lines[at]
            at += 1
            self._grid.steps += 1
            if line.endswith(":"):
                continue
            guard = re.match(r"@(!?)(%p\d+)\s+", line)
            if guard:
                line = line[guard.end() :]
                if bool(self._registers[guard[2]]) == bool(guard[1]):
                    continue
            operation, _, rest = line.rstrip(";").partition(" ")
            operands = [part.strip() for part in re.split(r",(?![^{]*\})", rest)] if rest.strip() else []
            if operation == "ret":
                return
            if operation.startswith("bra"):
                at = self._labels[operands[0]]
            else:
                self._execute(operation.split("."), operands)

    def _value(self, operand: str, bits: int = 64) -> int:
        if operand.startswith("%"):
            return self._registers[operand] & (1 << bits) - 1
        if operand.startswith("0f"):
            return int(operand[2:], 16)
        return int(operand, 0) & (1 << bits) - 1

    def _address(self, operand: str) -> int:
        base, _, offset = operand.strip("[]").partition("+")
        return self._value(base) + int(offset or 0)

    def _execute(self, parts: list[str], operands: list[str]) -> None:
        kind, suffix = parts[0], parts[-1]
        bits = 8 * _SIZES.get(suffix, 8)
        if kind in ("ld", "st", "atom", "red"):
            self._memory(parts, operands, suffix)
            return
        target, *sources = operands
        if kind == "setp":
            a, b = (self._value(source, bits) for source in sources)
            if suffix.startswith("s"):
                a, b = _signed(a, bits), _signed(b, bits)
            self._registers[target] = int(_COMPARE[parts[1]](a, b))
            return
        if kind == "selp":
            chosen = sources[0] if self._registers[sources[2]] else sources[1]
            self._registers[target] = self._value(chosen, bits)
            return
        if suffix == "pred":
            values = [self._registers[source] for source in sources]
            self._registers[target] = {"and": min, "or": max}[kind](values) if kind != "not" else 1 - values[0]
            return
        if kind == "cvt":
            source_bits = 8 * _SIZES[suffix]
            value = self._value(sources[0], source_bits)
            if parts[-2] == "f32":
                self._registers[target] = _bits(float(value))
            else:
                width = 8 * _SIZES[parts[-2]]
                self._registers[target] = (_signed(value, source_bits) if suffix[0] == "s" else value) & (
                    1 << width
                ) - 1
            return
        values = [self._value(source, bits) for source in sources]
        if parts[1:2] == ["wide"]:
            if suffix == "s32":
                values = [_signed(value, 32) for value in values[:2]] + values[2:]
            if kind == "mad":
                values[2] = self._value(sources[2], 64)
            bits = 64
        if suffix == "f32":
            result = _FLOAT[kind](*map(_float, values))
            self._registers[target] = _bits(result)
            return
        if suffix.startswith("s") and kind == "shr":
            values[0] = _signed(values[0], bits)
        self._registers[target] = _INTEGER[kind](*values) & (1 << bits) - 1

    def _memory(self, parts: list[str], operands: list[str], suffix: str) -> None:
        grid, size = self._grid, _SIZES[suffix]
        if parts[:2] == ["ld", "param"]:
            number = int(operands[1].strip("[]").rsplit("_", 1)[1])
            self._registers[operands[0]] = grid.arguments[number] & (1 << 8 * size) - 1
        elif parts[0] == "ld":
            for number, register in enumerate(self._group(operands[0])):
                self._registers[register] = grid.word(self._address(operands[1]) + 4 * number)
        elif parts[0] == "st":
            for number, register in enumerate(self._group(operands[1])):
                grid.store(self._address(operands[0]) + size * number, self._value(register), size)
        else:
            before = grid.word(address := self._address(operands[-2]))
            grid.store(address, _INTEGER[parts[-2]](before, self._value(operands[-1], 32)))
            if parts[0] == "atom":
                self._registers[operands[0]] = before

    @staticmethod
    def _group(operand: str) -> list[str]:
        return [part.strip() for part in operand.strip("{}").split(",")]


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
_INTEGER: dict[str, Callable[..., int]] = {
    "mov": lambda a: a,
    "cvta": lambda a: a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "mad": lambda a, b, c: a * b + c,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a: ~a,
    "neg": lambda a: -a,
    "shl": lambda a, b: a << b if b < 64 else 0,
    "shr": lambda a, b: a >> b,
    "max": max,
    "min": min,
}
_FLOAT: dict[str, Callable[..., float]] = {
    "mov": lambda a: a,
    "fma": fused_multiply_add,
    "add": lambda a, b: _float(_bits(a + b)),
    "mul": lambda a, b: _float(_bits(a * b)),
}
