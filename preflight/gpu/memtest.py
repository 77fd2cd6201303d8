"""Which GPU memory is really the card's, and whether it keeps what is written. In the child.

Takes all but a reserve of the free memory in chunks, writes and compares patterns over all of them, so that no
cache can answer. On WSL2 an allocation may silently live in the host's memory: such chunks are ten times slower
than the best one, do not count as GPU memory, and are left out of the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from preflight.gpu.cuda import OUT_OF_MEMORY, Driver
from preflight.gpu.kernels import FOUND_WORDS, Kernels
from preflight.gpu.stages import CallFailed, Story

CHUNK_BYTES = 256 << 20
_FIRST_BYTES = 64 << 20  # while nothing is measured: at the 0.8 GB/s of memory behind one PCIe lane this takes 80 ms
_LEAST_BYTES = 64 << 10
_LAUNCH_S = 0.1  # what a launch is sized for by the last measurement: a card that throttles stays below 0.2 s
_SPILLED_SHARE = 0.1
_WORD = 4
# (kind, seed) of reference.pattern_word: address, hash, its complement, walking bit, modulo-20 twice, zeros, ones.
PATTERNS = ((0, 0x9E3779B9), (1, 0x1234567), (2, 0x1234567), (6, 7), (3, 5), (6, 13), (4, 0), (5, 0))
_MORE_PATTERNS = tuple((6, offset) for offset in range(20)) + tuple((3, shift) for shift in range(0, 32, 4))
_RETRIES = 2
_RESIDENCY_S = 2.0
_QUEUED_CHUNKS = 16
_QUEUED_S = 0.25
_MOST_SUSPECTS = 4


@dataclass(slots=True)
class _Chunk:
    address: int
    size_bytes: int
    first_word: int  # of all memory under test, so that a wrong word has one number
    speed: float = 0.0  # bytes/s of a fill; 0: not known

    def launches(self, bytes_per_s: float) -> Iterator[tuple[int, int, int]]:
        """(address, size, first word) of pieces none of which keeps a card of this speed busy for long."""
        step = int(bytes_per_s * _LAUNCH_S) & ~0xFFFF if bytes_per_s > 0.0 else _FIRST_BYTES
        step = min(max(step, _LEAST_BYTES), self.size_bytes)
        for offset in range(0, self.size_bytes, step):
            yield self.address + offset, min(step, self.size_bytes - offset), self.first_word + offset // _WORD


@dataclass(slots=True)
class _Suspect:
    """A chunk that answered wrongly to one pattern, and what repeating it showed."""

    chunk: _Chunk
    kind: int
    seed: int
    words: list[int] = field(default_factory=list)  # first wrong word of each look, the first look first
    wrong: int = 0
    high: int = 0  # bits that were 1 and should be 0
    low: int = 0


def reserve_bytes(free_bytes: int) -> int:
    """What is left alone: the desktop and the driver need some, and 90 % of the free memory must be tested."""
    return min(max(free_bytes * 6 // 100, 768 << 20), free_bytes // 10)


class MemoryTest:
    """One test of one device. `budget_s` bounds the patterns; what it did not reach is told as untested."""

    def __init__(self, driver: Driver, kernels: Kernels, story: Story, budget_s: float, *, thorough: bool) -> None:
        self._driver, self._kernels, self._story = driver, kernels, story
        self._budget_s = budget_s
        self._patterns = PATTERNS + (_MORE_PATTERNS if thorough else ())
        self._found = driver.allocate(4096)
        self._begin, self._end = driver.event(), driver.event()
        self._lately = 0.0  # bytes/s of the last pieces that were waited for; 0: not known

    def run(self, free_bytes: int) -> None:
        """Tells `memory_taken`, `memory_resident` and `memory_tested`."""
        chunks: list[_Chunk] = []
        try:
            self._story.call("memory_taken", lambda: self._take(chunks, free_bytes))
            told = self._story.call("memory_resident", lambda: self._residency(chunks))
            if told is not None:
                self._story.call("memory_tested", lambda: self._test([c for c in chunks if _is_resident(c, chunks)]))
        finally:
            self._story.call("memory_freed", lambda: self._give_back(chunks))

    def _take(self, chunks: list[_Chunk], free_bytes: int) -> dict[str, object]:
        goal = free_bytes - reserve_bytes(free_bytes)
        size = min(CHUNK_BYTES, max(1 << 20, goal // 16)) & ~0xFFFF
        taken = 0
        why = ""
        while taken < goal and size >= 1 << 20:
            part = min(size, (goal - taken + 0xFFFF) & ~0xFFFF)
            try:
                address = self._driver.allocate(part)
            except CallFailed as failure:
                if failure.code != OUT_OF_MEMORY:
                    raise
                why = f"no more than {taken} bytes could be taken in pieces of {size}"
                size //= 2  # free memory is not always in one piece
                continue
            chunks.append(_Chunk(address, part, taken // _WORD))
            taken += part
            self._story.alive()
        return {"free_bytes": free_bytes, "taken_bytes": taken, "chunks": len(chunks), "why": why}

    def _residency(self, chunks: list[_Chunk]) -> dict[str, object]:
        end_s = time.perf_counter() + _RESIDENCY_S
        for chunk in chunks:
            if time.perf_counter() > end_s:
                break  # what was not reached counts as spilled: only the host's memory is this slow
            chunk.speed = self._fill_speed(chunk)
        for chunk in chunks:  # one slow look may be the desktop drawing; memory of the host is slow every time
            for _ in range(_RETRIES):
                if not _is_resident(chunk, chunks) and time.perf_counter() < end_s:
                    chunk.speed = max(chunk.speed, self._fill_speed(chunk))
        resident = [chunk for chunk in chunks if _is_resident(chunk, chunks)]
        spilled = [chunk for chunk in chunks if not _is_resident(chunk, chunks)]
        speeds = sorted(chunk.speed for chunk in resident)
        return {
            "resident_bytes": sum(chunk.size_bytes for chunk in resident),
            "spilled_bytes": sum(chunk.size_bytes for chunk in spilled),
            "fill_bytes_per_s": speeds[len(speeds) // 2] if speeds else 0.0,
            "spilled_bytes_per_s": max((chunk.speed for chunk in spilled), default=0.0),
        }

    def _fill_speed(self, chunk: _Chunk) -> float:
        self._begin.record()
        self._fill(chunk, 1, 1)
        self._end.record()
        took_s = self._end.seconds_since(self._begin)
        self._story.alive()
        self._lately = chunk.size_bytes / took_s if took_s > 0.0 else 0.0
        return self._lately

    def _fill(self, chunk: _Chunk, kind: int, seed: int) -> None:
        for address, size, first in chunk.launches(self._speed(chunk)):
            self._kernels.fill(address, size, first, kind, seed)

    def _check(self, chunk: _Chunk, kind: int, seed: int) -> None:
        for address, size, first in chunk.launches(self._speed(chunk)):
            self._kernels.check(address, size, first, kind, seed, self._found)

    def _speed(self, chunk: _Chunk) -> float:
        """Bytes/s to size a launch by: the worse of what this chunk showed and what was seen last; 0: not known."""
        return min((speed for speed in (chunk.speed, self._lately) if speed > 0.0), default=0.0)

    def _test(self, chunks: list[_Chunk]) -> dict[str, object]:
        began_s = time.perf_counter()
        done = 0
        suspects: list[_Suspect] = []
        for kind, seed in self._patterns:
            if done and time.perf_counter() - began_s > self._budget_s * done / (done + 1):
                break  # another pattern would not end in time
            self._each(chunks, lambda chunk, kind=kind, seed=seed: self._fill(chunk, kind, seed))  # type: ignore[misc]
            self._driver.zero(self._found, FOUND_WORDS)
            self._each(chunks, lambda chunk, kind=kind, seed=seed: self._check(chunk, kind, seed))  # type: ignore[misc]
            wrong = self._driver.words(self._found, FOUND_WORDS)[0]
            done += 1
            self._story.alive()
            if wrong and len(suspects) < _MOST_SUSPECTS:
                suspects += self._locate(chunks, kind, seed)
        tested = sum(chunk.size_bytes for chunk in chunks) if done else 0
        return {
            "tested_bytes": tested,
            "patterns": done,
            "of_patterns": len(self._patterns),
            "took_s": round(time.perf_counter() - began_s, 4),
            "suspects": [self._describe(suspect) for suspect in suspects[:_MOST_SUSPECTS]],
        }

    def _each(self, chunks: Sequence[_Chunk], queue: Callable[[_Chunk], None]) -> None:
        """Queue work for every chunk; wait now and then, so that slow memory is not taken for a hang and what it has
        become is known."""
        batch: list[_Chunk] = []
        for chunk in chunks:
            batch.append(chunk)
            queued_s = sum(one.size_bytes / max(self._speed(one), 1.0) for one in batch)
            if len(batch) == _QUEUED_CHUNKS or queued_s > _QUEUED_S or chunk is chunks[-1]:
                self._wait_for(batch, queue)
                batch = []

    def _wait_for(self, batch: Sequence[_Chunk], queue: Callable[[_Chunk], None]) -> None:
        self._begin.record()
        for chunk in batch:
            queue(chunk)
        self._end.record()
        took_s = self._end.seconds_since(self._begin)
        self._lately = sum(chunk.size_bytes for chunk in batch) / took_s if took_s > 0.0 else 0.0
        self._driver.synchronize()
        self._story.alive()

    def _locate(self, chunks: list[_Chunk], kind: int, seed: int) -> list[_Suspect]:
        """Which chunks are wrong: looked at again as they stand, then written and looked at twice more."""
        suspects = []
        for chunk in chunks:
            suspect = _Suspect(chunk, kind, seed)
            self._look(suspect)
            if suspect.wrong:
                for _ in range(_RETRIES):
                    self._fill(chunk, kind, seed)
                    self._look(suspect)
                suspects.append(suspect)
        # A wrong word that reads right on the second look was a wrong read: still an error, at an unknown place.
        return suspects or [_Suspect(chunks[0], kind, seed, wrong=1)]

    def _look(self, suspect: _Suspect) -> None:
        chunk = suspect.chunk
        self._driver.zero(self._found, FOUND_WORDS)
        self._check(chunk, suspect.kind, suspect.seed)
        wrong, first, high, low = self._driver.words(self._found, FOUND_WORDS)
        if wrong:
            suspect.words.append(~first & 0xFFFFFFFF)
            suspect.wrong = max(suspect.wrong, wrong)
            suspect.high |= high
            suspect.low |= low
        self._story.alive()

    @staticmethod
    def _describe(suspect: _Suspect) -> dict[str, object]:
        first = suspect.words[0] if suspect.words else None
        # The kernel counts words in 32 bits, which wrap every 16 GiB; a chunk is smaller than that.
        offset = None if first is None else (first - suspect.chunk.first_word) & 0xFFFFFFFF
        return {
            "word": None if offset is None else suspect.chunk.first_word + offset,
            "byte": None if offset is None else (suspect.chunk.first_word + offset) * _WORD,
            "address": None if offset is None else suspect.chunk.address + offset * _WORD,
            "again": sum(word == first for word in suspect.words[1:]),
            "looks": len(suspect.words),
            "wrong_words": suspect.wrong,
            "bits_stuck_at_1": f"{suspect.high:#010x}",
            "bits_stuck_at_0": f"{suspect.low:#010x}",
            "pattern": suspect.kind,
        }

    def _give_back(self, chunks: list[_Chunk]) -> bool:
        for chunk in chunks:
            self._driver.free(chunk.address)
        self._driver.free(self._found)
        return True


def _is_resident(chunk: _Chunk, chunks: list[_Chunk]) -> bool:
    return chunk.speed > _SPILLED_SHARE * max(other.speed for other in chunks)
