"""Bugs put in on purpose, each a part of a life that is wrong in one way. The simulation must find every one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sync.engine import Engine
from sync.errors import Transient
from sync.files import Files, Reading
from sync.intents import Intents
from sync.lease import Lease
from sync.names import TRASH
from sync.stores import ANY, ObjectInfo, Store, Write
from sync.stores.together import Written
from sync.tree import Row
from sync.work import Outcome, Saved
from tests.model.simulation.node import Life, Plain


class Around:
    """Something that behaves like `inner` but for what a subclass overrides."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class NoPreconditions(Plain):
    """Every write goes over whatever is there."""

    class Careless(Around):
        def put(self, key: str, body: object, *, meta: object, only_if: object = ANY) -> ObjectInfo:
            return self.inner.put(key, body, meta=meta)  # type: ignore[no-any-return]

        def put_many(self, writes: Sequence[Write]) -> Written:
            return self.inner.put_many([replace(write, only_if=ANY) for write in writes])  # type: ignore[no-any-return]

    def wire(self, store: Store) -> Store:
        return self.Careless(store)


class PartialList(Plain):
    """A listing that breaks off is taken for the whole."""

    favours = ("crash", "takeover")

    class Short(Around):
        def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
            with contextlib.suppress(Transient):
                yield from self.inner.list(prefix)

    def wire(self, store: Store) -> Store:
        return self.Short(store)


class LostOverflow(Plain):
    """The watcher says that it lost events, and nobody listens."""

    favours = ("overflow",)

    def overflow(self, engine: Engine) -> None: ...


class DroppedEdit(Plain):
    """After an upload the file counts as saved as it is by then, not as it was read."""

    class Forgetful(Engine):
        def _saved(self, outcome: Saved, now_s: float) -> None:
            entry = self.files.entry(outcome.path)
            if entry is not None and not outcome.path.endswith("/"):
                outcome = Saved(outcome.path, outcome.row._replace(entry=entry), outcome.was_sent)
            super()._saved(outcome, now_s)

    def engine(self, **parts: Any) -> Engine:
        return self.Forgetful(**parts)


class NoFencing(Plain):
    """Nobody asks whether a newer node took over."""

    favours = ("takeover", "pause")

    class Blind(Lease):
        def renew(self, *pending: Any, **named: Any) -> None:
            with self._lock:
                self._confirmed_s = self._clock.monotonic()

    def lease(self, store: Store, life: Life, machine: str, instance: str) -> Lease:
        return self.Blind(store, life, machine, instance)

    def permit(self, lease: Lease) -> Callable[[], None]:
        return lambda: None


class JournalBeforeAnswer(Plain):
    """The journal calls a file saved when its upload begins."""

    class Hasty(Engine):
        def run_job(self, path: str, verb: str, job: Callable[[], Outcome]) -> None:
            item = self.agenda.pending.get(path)
            if verb == "put" and item is not None:
                self.journal.record(path, Row(item.entry, "on its way", item.entry.size, None))
            super().run_job(path, verb, job)

    def engine(self, **parts: Any) -> Engine:
        return self.Hasty(**parts)


class NoTrash(Plain):
    """What is deleted is not kept anywhere."""

    class Shredder(Around):
        def copy(self, source: str, target: str, **named: Any) -> ObjectInfo:
            if target.startswith(TRASH):
                return self.inner.head(source)  # type: ignore[no-any-return]
            return self.inner.copy(source, target, **named)  # type: ignore[no-any-return]

    def wire(self, store: Store) -> Store:
        return self.Shredder(store)


class TornReads(Plain):
    """A file that changes while it is read is uploaded all the same."""

    favours = ("write_while_read",)

    class Unchecked(Around):
        @contextlib.contextmanager
        def open(self, path: str) -> Iterator[Reading]:
            with self.inner.open(path) as reading:
                reading.check = lambda: None
                yield reading

    def files(self, files: Files) -> Files:
        return self.Unchecked(files)


class TrustedTick(Plain):
    """Two saves within one tick of the file's clock are taken for one."""

    favours = ("flush_in_a_save",)

    class Unsmudged(Around):
        @contextlib.contextmanager
        def open(self, path: str) -> Iterator[Reading]:
            with self.inner.open(path) as reading:
                reading.is_racy = lambda: False
                yield reading

    def files(self, files: Files) -> Files:
        return self.Unsmudged(files)


class TrustedRoot(Plain):
    """An empty folder that was mounted over the real one is believed."""

    favours = ("lose_folder",)

    class Gullible(Around):
        marker: str | None = None

        def write_marker(self, text: str) -> None:
            self.inner.write_marker(text)
            self.marker = text

        def read_marker(self) -> str | None:
            return self.marker or self.inner.read_marker()  # type: ignore[no-any-return]

    def files(self, files: Files) -> Files:
        return self.Gullible(files)


class NoIntents(Plain):
    """What is about to be sent is noted nowhere: after a kill nobody knows that it was us."""

    favours = ("crash",)

    def intents(self, intents: Intents) -> Intents:
        return Intents()


class TrustedRow(Plain):
    """A delete without an answer is forgotten; its file comes back as it was, and counts as saved."""

    favours = ("one_way",)

    class Trusting(Engine):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.doubts.add_delete = lambda path, now_s: None  # type: ignore[method-assign]

    def engine(self, **parts: Any) -> Engine:
        return self.Trusting(**parts)


SEEDED: dict[str, type[Plain]] = {
    "drop-a-precondition": NoPreconditions,
    "delete-on-partial-list": PartialList,
    "lose-an-overflow": LostOverflow,
    "drop-edit-during-upload": DroppedEdit,
    "fencing-off": NoFencing,
    "journal-before-answer": JournalBeforeAnswer,
    "no-intents": NoIntents,
    "no-trash": NoTrash,
    "torn-reads": TornReads,
    "trusted-tick": TrustedTick,
    "trusted-root": TrustedRoot,
    "trusted-row": TrustedRow,
}
