"""What the workers are given and what they answer: values, so that only the control thread changes the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sync.clock import Clock
from sync.errors import SyncError
from sync.files import Files
from sync.stores import Store
from sync.tree import Doubt, Entry, Remote, Row

T = TypeVar("T")
HEAVY_BYTES = 256 * 1024  # past this a body weighs
LIGHT_BYTES = 64 * 1024  # up to this several are moved at once by one worker


def one_after_the_other(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Results of `jobs` in order; the simplest way to run them."""
    return [job() for job in jobs]


@dataclass(frozen=True, slots=True)
class World:
    """Everything a worker may touch."""

    files: Files
    store: Store
    clock: Clock
    machine: str
    permit: Callable[[], None]  # raises LeaseLost unless this node may write at this moment
    confirm: Callable[[], None] = lambda: None  # looks at the lease itself: before foreign content is replaced
    spend: Callable[[int], None] = lambda size: None  # bandwidth: waits before `size` bytes are sent
    side_by_side: Callable[[Sequence[Callable[[], Any]]], list[Any]] = one_after_the_other
    note_upload: Callable[[str, str | None], None] = lambda path, note: None
    intend: Callable[[Doubt, str], None] = lambda write, over: None  # notes a write before it is sent (`Intents.add`)
    unfinished: dict[str, Any] = field(default_factory=dict)  # path -> `large.Unfinished`
    heavy: AbstractContextManager[object] = field(default_factory=nullcontext)  # held while a large body is in memory
    born_at: float = 0.0  # when this process began, by the wall clock
    keeps_copies_here: bool = True  # a conflict's other content also becomes a local file (not for mirrors)


def weighed(world: World, size: int, job: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """`job`, one of a few at a time if it moves a body that weighs."""

    def held() -> Outcome:
        with world.heavy:
            return job()

    return held if size > HEAVY_BYTES else job


@dataclass(frozen=True, slots=True)
class Several(Generic[T]):
    """A small job that is cheaper beside others of its kind: `do` takes several items, and answers for each."""

    item: T
    world: World
    do: Callable[[Sequence[T], World], Iterator[tuple[int, Outcome]]]

    def __call__(self) -> Outcome:
        ((_, outcome),) = self.do([self.item], self.world)
        return outcome

    def together(self, others: Sequence[Several[T]]) -> Iterator[tuple[int, Outcome]]:
        """This one (0) and `others` (from 1), which are like it, in one go: number and outcome of each."""
        return self.do([self.item, *(other.item for other in others)], self.world)

    def is_like(self, other: object) -> bool:
        """Whether `other` can be done in the same go."""
        return isinstance(other, Several) and other.do is self.do and other.world is self.world


@dataclass(frozen=True, slots=True)
class Copy:
    """A conflict's other content, preserved: `row` when it is the same here and in the bucket."""

    path: str
    copy: str
    at: float
    row: Row | None
    is_missing: bool = False  # in the folder, where it should be too


@dataclass(frozen=True, slots=True)
class Saved:
    """`row` says what is now the same here and there."""

    path: str
    row: Row
    was_sent: bool
    is_racy: bool = False
    copies: tuple[Copy, ...] = ()
    moved_from: str = ""  # it went up as a server-side copy of this path


@dataclass(frozen=True, slots=True)
class Later:
    """The file was in motion: again after it rested."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file was gone before it could be read."""

    path: str


@dataclass(frozen=True, slots=True)
class Unsaveable:
    """A person must act before this one path can be saved or fetched."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The store or the disk refused for a reason that is not this path's."""

    path: str
    error: SyncError
    sent: tuple[Doubt, ...] = ()  # writes that it does not know the end of


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a doubtful write or delete: `row` when the object is our own and the journal knows another one."""

    path: str
    row: Row | None = None
    is_foreign: bool = False
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """The object is in the trash (or was gone already). `was_slow`: an attempt that nobody waits for may still come."""

    path: str
    was_slow: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else wrote the object that was to be deleted: it comes back into the folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete, verified private file waits to take its place."""

    path: str
    temp: str
    remote: Remote
    mtime_ns: int | None
    mode: int | None
    is_link: bool
    expect: Entry | None
    displaces: bool = False  # another content has the name: it moves aside first, as a conflict copy
    md5: bytes | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Fetched files that took their places."""

    rows: tuple[tuple[str, Row], ...]
    copies: tuple[Copy, ...] = ()
    later: tuple[str, ...] = ()
    unusable: tuple[tuple[str, str], ...] = ()
    error: SyncError | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A piece of a listing; the last one has `is_last`."""

    objects: tuple[tuple[str, Remote], ...]
    unusable: tuple[tuple[str, str], ...] = ()
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Leased:
    """The lease as it is now; `error` when it could not be had or was lost."""

    error: SyncError | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """Old trash is gone."""

    count: int


@dataclass(frozen=True, slots=True)
class Noted:
    """The unfinished upload of a path, to be remembered (None: forgotten)."""

    path: str
    note: str | None


Outcome = (
    Expired
    | Noted
    | Saved
    | Settled
    | Later
    | Vanished
    | Unsaveable
    | Failed
    | Deleted
    | Foreign
    | Fetched
    | Placed
    | Listed
    | Leased
)


@dataclass(slots=True)
class Task:
    """One upload: what the scan saw and what the journal knows."""

    path: str
    entry: Entry
    row: Row | None
    is_exact: bool = False  # only this very state may go up (git refs)
    origin: tuple[str, Row] | None = None  # a renamed file's old path
    note: str | None = None  # of an unfinished upload
    ours: tuple[Doubt, ...] = ()  # earlier writes without an answer: what they made is no foreign content
    is_doubtful: bool = False  # an earlier request was not answered: the bucket may not hold what `row` says
    sent: list[Doubt] = field(default_factory=list)  # what this upload sends

    def announce(self, world: World, size: int, md5: bytes) -> None:
        """This content is about to be sent under the task's name: noted first, because the answer may never come."""
        write = Doubt(self.path, size, md5)
        self.sent.append(write)
        world.intend(write, "" if self.row is None else self.row.version)
