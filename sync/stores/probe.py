"""What a bucket really does, asked with real writes under `.preflight/probe/`: about fifteen small requests.

HeadBucket and listings prove nothing (OBS and OSS answer them for buckets that take no write), and a server that
ignores a precondition answers 200: it is found out only by a write that must fail. The store's `facts` are
corrected by what was seen, in both directions.
"""

from __future__ import annotations

import enum
import hashlib
import io
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sync.errors import Corrupt, Denied, Misconfigured, NotFound, PreconditionFailed, SyncError, Transient, Unsupported
from sync.stores import ABSENT, ANY, Precondition, Store, StoreFacts, Writes, only_over
from sync.stores.answers import POLICY
from sync.stores.rights import right_for

FOLDER = ".preflight/probe/"


class Outcome(enum.StrEnum):
    """What an operation did."""

    WORKS = "works"
    DENIED = "denied"  # the policy lacks a right
    UNSUPPORTED = "unsupported"  # the provider says that it has no such thing
    IGNORED = "ignored"  # the provider accepts the condition and does not hold it
    BROKEN = "broken"  # it answers, but not with what was written
    UNTRIED = "untried"  # what it needs did not work


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: what it did, what that means, what would change it."""

    name: str
    outcome: Outcome
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Capability:
    """The probe's result."""

    facts: StoreFacts
    steps: tuple[Step, ...] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether a folder can be kept here at all."""
        needed = {"put", "get", "list"}
        return all(step.outcome is Outcome.WORKS for step in self.steps if step.name in needed)

    @property
    def missing(self) -> tuple[Step, ...]:
        """What does not work, in the order of asking."""
        return tuple(step for step in self.steps if step.outcome not in {Outcome.WORKS, Outcome.UNTRIED})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of this bucket, each once, without naming it; empty when it can do everything."""
        found = []
        if self.facts.writes is not Writes.FULL and self.steps and self.usable:
            found.append(
                f"the bucket's server does not compare versions ({self.facts.writes.value}): "
                "use this folder from one node at a time"
            )
        for step in self.missing:
            if step.outcome is Outcome.DENIED:
                found.append(f"the bucket's policy denies {step.name}: {step.fix}")
            elif step.outcome is Outcome.BROKEN:
                found.append(f"the bucket does not do {step.name} right: {step.why}")
        return tuple(found)

    def to_json(self) -> dict[str, object]:
        """For the status document, the report and the page."""
        facts = asdict(self.facts)
        facts["writes"] = self.facts.writes.value
        return {
            "facts": facts,
            "usable": self.usable,
            "notes": list(self.notes),
            "steps": [asdict(step) for step in self.steps],
        }


def probe(store: Store) -> Capability:
    """Ask `store` and correct its facts.

    Raises Misconfigured when the bucket cannot exist as configured, Transient when it does not answer.
    """
    return _Probe(store).ask()


def innermost(store: Any) -> Any:
    """The store that talks to the server, below wrappers."""
    while hasattr(store, "inner"):
        store = store.inner
    return store


class _Probe:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.real = innermost(store)
        self.folder = f"{FOLDER}{secrets.token_hex(16)}/"
        self.steps: list[Step] = []
        self.made: set[str] = set()
        self.first = ""  # a version that no later object has: of other content, and older

    def ask(self) -> Capability:
        declared = self.store.facts
        self.first = self._put("a", b"first")
        if self.steps[-1].outcome is not Outcome.WORKS:
            return self._result(declared)
        try:
            self._read_back(b"first")
            self._listing()
            self._learn(etag_is_md5=self.first.strip('"') == hashlib.md5(b"first", usedforsecurity=False).hexdigest())
            self._conditions(declared)
            self._conditional_delete(declared)
            self._copy()
            self._multipart()
        finally:
            self._clean()
        return self._result(self.store.facts)

    def _result(self, facts: StoreFacts) -> Capability:
        return Capability(facts, tuple(self.steps))

    def _learn(self, **changes: Any) -> None:
        self.real.facts = replace(self.real.facts, **changes)

    def _note(self, name: str, outcome: Outcome, why: str = "", *, operation: str = "", hint: str = "") -> None:
        right = right_for(self.store.facts.provider, operation or name) if outcome is Outcome.DENIED else ""
        is_identity = hint not in {"", POLICY}  # who asks is refused, whatever the policy says: clock, key, expiry
        fix = hint if is_identity else f"allow {right}" if right else ""
        self.steps.append(Step(name, outcome, why, fix))

    def _try(self, name: str, act: Callable[[], object], *, operation: str = "") -> bool:
        """Run `act`; note how it ended. True when it worked."""
        try:
            act()
        except (Misconfigured, Transient):
            raise
        except SyncError as error:
            outcome = {Denied: Outcome.DENIED, Unsupported: Outcome.UNSUPPORTED}.get(type(error), Outcome.BROKEN)
            self._note(name, outcome, error.what, operation=operation, hint=error.hint)
            return False
        self._note(name, Outcome.WORKS)
        return True

    def _put(self, name: str, body: bytes) -> str:
        version = ""

        def act() -> None:
            nonlocal version
            version = self.store.put(self.folder + name, body, meta={"mtime": "1.5"}).version
            self.made.add(name)

        self._try("put", act)
        return version

    def _read_back(self, body: bytes) -> None:
        def act() -> None:
            sink = io.BytesIO()
            info = self.store.get(self.folder + "a", sink)
            if sink.getvalue() != body:
                raise Corrupt("what came back is not what was written")
            if dict(info.meta) != {"mtime": "1.5"}:
                raise Corrupt("user metadata does not come back")

        self._try("get", act)

    def _listing(self) -> None:
        def act() -> None:
            if [info.key for info in self.store.list(self.folder)] != [self.folder + "a"]:
                raise Corrupt("the listing does not show what was written")

        self._try("list", act)

    def _must_fail(self, body: bytes, only_if: Precondition, name: str = "c") -> Outcome:
        """A write that an honest server refuses."""
        try:
            self.store.put(self.folder + name, body, meta={}, only_if=only_if)
        except PreconditionFailed:
            return Outcome.WORKS
        except Denied:
            return Outcome.DENIED
        except Unsupported:
            return Outcome.UNSUPPORTED
        self.made.add(name)
        return Outcome.IGNORED

    def _conditions(self, declared: StoreFacts) -> None:
        """Down the ladder: compare-and-swap, create-only, nothing."""
        outcome = Outcome.UNTRIED
        for claim in (Writes.FULL, Writes.CREATE_ONLY):
            self._learn(writes=claim)
            outcome = self._must_fail(b"never", ABSENT, "a")
            if outcome is Outcome.WORKS:
                break
        if outcome is not Outcome.WORKS:
            self._learn(writes=Writes.NONE)
            self._note("create-only", outcome, "a write that must not replace anything replaced it or was refused")
            self._note("compare-and-swap", Outcome.UNTRIED)
            return
        self._note("create-only", Outcome.WORKS)
        if self.store.facts.writes is not Writes.FULL:
            self._note("compare-and-swap", Outcome.UNSUPPORTED, "the provider only knows create-only")
            return
        second = self.store.put(self.folder + "c", b"second", meta={})
        self.made.add("c")
        outcome = self._must_fail(b"never", only_over(self.first))
        if outcome is Outcome.WORKS and not self._swaps(second.version):
            outcome = Outcome.BROKEN
        self._note("compare-and-swap", outcome)
        if outcome is not Outcome.WORKS:
            self._learn(writes=Writes.CREATE_ONLY)

    def _swaps(self, version: str) -> bool:
        try:
            self.store.put(self.folder + "c", b"third", meta={}, only_if=only_over(version))
        except (PreconditionFailed, Unsupported):
            return False
        return True

    def _conditional_delete(self, declared: StoreFacts) -> None:
        key = self.folder + "d"
        self.store.put(key, b"fourth", meta={}, only_if=ANY)
        self.made.add("d")
        self._learn(delete_if_match=True)
        try:
            self.store.delete(key, if_version=self.first)
            outcome = Outcome.IGNORED
            self.made.discard("d")
        except PreconditionFailed:
            outcome = Outcome.WORKS
        except Denied:
            outcome = Outcome.DENIED
        except Unsupported:
            outcome = Outcome.UNSUPPORTED
        self._learn(delete_if_match=outcome is Outcome.WORKS)
        # A plain delete tells a missing right from a missing condition.
        self._try("delete", lambda: self.store.delete(key))
        if self.steps[-1].outcome is Outcome.WORKS:
            self.made.discard("d")
            self._note("conditional delete", outcome if outcome is not Outcome.DENIED else Outcome.UNSUPPORTED)
        else:
            self._learn(delete_if_match=declared.delete_if_match)
            self._note("conditional delete", Outcome.UNTRIED)

    def _copy(self) -> None:
        def act() -> None:
            self.store.copy(self.folder + "a", self.folder + "e")
            self.made.add("e")

        if not self._try("copy", act):
            self._learn(copy=False)

    def _multipart(self) -> None:
        key = self.folder + "f"
        upload = ""

        def start() -> None:
            nonlocal upload
            upload = self.store.start_upload(key, meta={})
            self.store.put_part(key, upload, 1, b"part")

        if not self._try("upload", start):
            return
        self._try("list_parts", lambda: self.store.list_parts(key, upload))
        self._try("abort", lambda: self.store.abort_upload(key, upload))

    def _clean(self) -> None:
        for name in sorted(self.made):
            try:
                self.store.delete(self.folder + name)
            except (Denied, NotFound, Unsupported):
                continue  # noted as the step "delete"; what stays is a few bytes under .preflight/probe/
