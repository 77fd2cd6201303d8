"""The fleet's memory, in the user's bucket: which nodes failed what, and how many were handed back lately.

Below `.preflight/ledger/<group>/`:  `tokens/NN` one slot for each reallocation that the window allows, claimed
by a conditional put, so 100 replicas starting together cannot take more; `checks/<check>/fail-<machine>`,
`pass`, `open` and `try` for the breaker; `recreated/<machine>/<check>`; `evidence/` one document for every verdict.
Times are the server's own.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from preflight.policy import Fleet, Policy
from sync.errors import PreconditionFailed, SyncError, Transient, Unsupported
from sync.stores import ABSENT, ANY, ObjectInfo, Precondition, Store, Writes, only_over

ROOT = ".preflight/ledger/"
KEEP_EVIDENCE = 500  # documents of some kB each; the oldest go
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the ledger: name below the group's folder, the server's time, and its version."""

    name: str
    modified: float
    version: str


class Ledger:
    """One group's folder. Every method may raise a SyncError: then nothing is known and nothing is granted."""

    def __init__(self, store: Store, group: str, machine: str) -> None:
        self._store = store
        self._root = f"{ROOT}{safe(group)}/"
        self._machine = safe(machine)

    @property
    def url(self) -> str:
        """For people."""
        return f"{self._store.url}/{self._root}"

    def read(self, now_s: float, policy: Policy) -> Fleet:
        """What deciding needs, in two listings. `now_s` is the server's time as well as we know it.

        Writes only when it is the first to see that a check's breaker has opened: from then its pause counts.
        """
        tokens = list(self._list("tokens/"))
        checks = list(self._list("checks/"))
        used = sum(1 for entry in tokens if now_s - entry.modified < policy.token_window_s)
        failing: dict[str, int] = {}
        demoted: set[str] = set()
        for check, entries in _by_check(checks).items():
            since = _last_pass(entries)
            fails = [entry for entry in entries if _is_fail(entry) and entry.modified > since]
            failing[check] = len(fails)
            if len(fails) <= policy.breaker_machines:
                continue
            opened = max((entry.modified for entry in entries if entry.name.endswith(("/open", "/try"))), default=0.0)
            if opened <= since:
                self._put(f"checks/{check}/open", {"machine": self._machine})
                opened = now_s
            if now_s - opened < policy.breaker_half_open_s:
                demoted.add(check)
        return Fleet(True, "", used, failing, frozenset(demoted))

    def note(self, passed: Iterable[str], failed: Iterable[str]) -> None:
        """Remember what this node passed and failed. A pass is written only where failures stand (it closes them)."""
        standing = _by_check(list(self._list("checks/")))
        for check in passed:
            entries = standing.get(safe(check), [])
            since = _last_pass(entries)
            if any(_is_fail(entry) and entry.modified >= since for entry in entries):
                self._put(f"checks/{safe(check)}/pass", {"machine": self._machine})
        for check in failed:
            self._put(f"checks/{safe(check)}/fail-{self._machine}", {"machine": self._machine})

    def server_now(self) -> float:
        """The server's clock, by a small object written and listed: ours may be days off on a laptop that slept."""
        self._put(f"now/{self._machine}", {"machine": self._machine})
        entry = next(self._list(f"now/{self._machine}"), None)
        if entry is None:
            raise Transient("the ledger does not list what was just written", where=self.url)
        return entry.modified

    def take_token(self, check: str, reason: str, policy: Policy) -> str:
        """Claim one of the window's slots and return its name; "" when all are taken. Nothing else grants one.

        Where the server cannot compare (Writes.NONE), the slot is written and read back: one writer too many
        then costs a token, never grants one twice for long.
        """
        now_s = self.server_now()
        slots = {entry.name: entry for entry in self._list("tokens/")}
        document = {"machine": self._machine, "check": check, "reason": reason}
        for number in range(policy.tokens):
            name = f"tokens/{number:04d}"
            slot = slots.get(name)
            if slot is not None and now_s - slot.modified < policy.token_window_s:
                continue
            if self._claim(name, document, ABSENT if slot is None else only_over(slot.version)):
                return name
        return ""

    def claim_try(self, check: str) -> bool:
        """With the breaker's pause over, take the one half-open attempt. False when somebody else took it."""
        entries = {entry.name: entry for entry in self._list(f"checks/{safe(check)}/")}
        name = f"checks/{safe(check)}/try"
        slot = entries.get(name)
        return self._claim(name, {"machine": self._machine}, ABSENT if slot is None else only_over(slot.version))

    def claim_step(self, step: str, check: str, window_s: float) -> bool:
        """Whether this machine may be "restarted" or "recreated" for this check: once in `window_s`. Its own disk may
        be gone by then, so only the ledger can keep it from going in a circle."""
        name = f"{step}/{self._machine}/{safe(check)}"
        slot = next((entry for entry in self._list(f"{step}/{self._machine}/") if entry.name == name), None)
        if slot is not None and self.server_now() - slot.modified < window_s:
            return False
        document = {"machine": self._machine, "check": check}
        return self._claim(name, document, ABSENT if slot is None else only_over(slot.version))

    def keep_evidence(self, document: Mapping[str, object], name: str) -> None:
        """Store one verdict's evidence under `evidence/<name>.json`; beyond KEEP_EVIDENCE the oldest go."""
        self._store.put(
            f"{self._root}evidence/{safe(name)}.json", json.dumps(document, allow_nan=False).encode(), meta={}
        )
        old = sorted(entry.name for entry in self._list("evidence/"))[:-KEEP_EVIDENCE]
        for entry in old[:20]:
            self._store.delete(self._root + entry)

    def evidence(self) -> Iterator[dict[str, object]]:
        """All recorded evidence, oldest first; what cannot be parsed is left out with a warning."""
        for name in sorted(entry.name for entry in self._list("evidence/")):
            into = io.BytesIO()
            self._store.get(self._root + name, into)
            try:
                document = json.loads(into.getvalue())
            except ValueError:
                _log.warning("an evidence document cannot be read", extra={"key": name})
                continue
            if isinstance(document, dict):
                yield document

    def _claim(self, name: str, document: Mapping[str, object], only_if: Precondition) -> bool:
        try:
            if self._store.facts.writes is Writes.FULL or (
                self._store.facts.writes is Writes.CREATE_ONLY and only_if is ABSENT
            ):
                self._put(name, document, only_if)
                return True
            self._put(name, document, ANY)
            return self._holds(name, document)
        except (PreconditionFailed, Unsupported):
            return False

    def _holds(self, name: str, document: Mapping[str, object]) -> bool:
        into = io.BytesIO()
        self._store.get(self._root + name, into)
        return bool(into.getvalue() == _body(document))

    def _put(self, name: str, document: Mapping[str, object], only_if: Precondition = ANY) -> None:
        self._store.put(self._root + name, _body(document), meta={}, only_if=only_if)

    def _list(self, below: str) -> Iterator[Entry]:
        for info in self._store.list(self._root + below):
            yield self._entry(info)

    def _entry(self, info: ObjectInfo) -> Entry:
        return Entry(info.key.removeprefix(self._root), info.modified, info.version)


def no_ledger(why: str) -> Fleet:
    """What is known without a ledger: nothing, so nothing is counted and nearly nothing is granted."""
    return Fleet(readable=False, why_not=why)


def reading_failed(error: SyncError) -> Fleet:
    """The fleet as seen through a bucket that does not answer."""
    return no_ledger(f"the bucket did not answer: {error.what}")


def evidence_name(at: datetime, machine: str) -> str:
    """Sorts by time: 20261121T235959Z-<machine>."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{safe(machine)}"


def safe(text: str) -> str:
    """`text` as one part of a key: letters, digits, `._-`; at most 100 characters, never empty."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:100].lstrip(".") or "unnamed"


def _body(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _by_check(entries: list[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        parts = entry.name.split("/")
        if len(parts) == 3:
            found.setdefault(parts[1], []).append(entry)
    return found


def _is_fail(entry: Entry) -> bool:
    return "/fail-" in entry.name


def _last_pass(entries: list[Entry]) -> float:
    return max((entry.modified for entry in entries if entry.name.endswith("/pass")), default=0.0)
