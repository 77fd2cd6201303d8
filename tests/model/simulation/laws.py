"""The guarantees of the engine as machine checks: told of every change in the bucket and on the disks, they object.

G3 no foreign destruction, G4 deletes need proof, G5 fencing, G6 no torn object are checked at every write of every
node; G1 whenever a journal or a status claims something; G7 when everything is quiet; G8 on a fresh machine then.

What the laws do not ask for is what cannot be had:
- G3: a server that does not compare replaces what came between a look and the write that follows it (no other time).
- G5: no server fences, so a node that was not told yet may write until the term of its last confirmation ends; its
  conditional writes still destroy nothing. `Fault.LATE` (a write carried out after its sender gave up) is left out
  where no server compares: nothing could stop it.
- G1 "saved": what no event told of, or what cannot be read, is found by the next audit and named until then.
- G6: a flush waits for nothing, so it saves what a program has written so far of a file that it writes in pieces.
- G8: where ETags are MD5s, equal content that somebody else wrote last looks like no change: its mode and time may
  differ. Two programs that write one file at the same time spoil it themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from sync.names import LEASE, TRASH, is_ours, path_of
from sync.state import Journal
from sync.stores import Writes
from sync.tree import Kind, unchanged
from tests.model.simulation.bucket import Bucket, Version
from tests.model.simulation.disk import Disk, Inode
from tests.model.simulation.memory_files import FOLDER, entry_of
from tests.model.simulation.world import World

AUDIT_S = 120.0  # by then a walk has found what no event told of
CONFLICT = " (conflict "


class Machine(Protocol):
    """What the laws need to know of a node."""

    name: str
    machine: str
    disk: Disk
    sent_at_s: float
    looked: dict[str, float]
    grace_until_s: float | None  # when it must have noticed at last that a newer node took over

    def overflows(self) -> bool:
        """Whether events are being lost right now, before anybody can know."""
        ...

    def is_hurried(self) -> bool:
        """Whether somebody asked for everything to be saved at once."""
        ...

    def is_deaf(self) -> bool:
        """Whether the watcher missed something that only the next audit can tell."""
        ...


class Laws:
    """Collects violations, each a sentence with the moment it happened."""

    def __init__(self, world: World, bucket: Bucket) -> None:
        self._world = world
        self._bucket = bucket
        self.machines: dict[str, Machine] = {}
        self.violations: list[str] = []
        self.checked: Counter[str] = Counter()
        bucket.watchers.append(self._on_change)

    def admit(self, machine: Machine) -> None:
        """Watch a node and its disk."""
        self.machines[machine.name] = machine
        machine.disk.on_displaced = lambda path, node: self._on_displaced(machine, path, node)
        machine.disk.on_removed = lambda path, node: self._on_removed(machine, path, node)

    def object(self, law: str, text: str) -> None:
        """Record a violation."""
        line = f"{law} at {self._world.now_s:.3f} s: {text}"
        self.violations.append(line)
        self._world.note(f"VIOLATION {line}")

    # -- the bucket

    def _on_change(self, who: str, key: str, old: Version | None, new: Version | None) -> None:
        change = "delete" if new is None else new.how
        self._world.note(f"bucket: {who} {change} {key!r} {old.number if old else 0}->{new.number if new else 0}")
        machine = self.machines.get(who)
        if machine is None or is_ours(key):
            return
        self.checked["G5"] += 1
        if machine.grace_until_s is not None and machine.sent_at_s > machine.grace_until_s:
            self.object("G5", f"{who} wrote {key!r} after it was fenced")
        if new is not None:
            self._no_torn_object(who, key, new)
        if old is not None:
            self._no_foreign_destruction(machine, key, old)
        if new is None and old is not None:
            self._delete_has_proof(machine, key, old)

    def _no_torn_object(self, who: str, key: str, new: Version) -> None:
        self.checked["G6"] += 1
        if key.endswith("/"):
            if new.content:
                self.object("G6", f"{who} gave the folder {key!r} a content")
            return
        if self._is_state(key, new):
            return
        machine = self.machines[who]
        if machine.is_hurried() and (f"{FOLDER}/{path_of(key)}", new.content) in machine.disk.halves:
            return
        self.object(
            "G6", f"{who} stored {new.content[:40]!r} ({len(new.content)} B) as {key!r}, which no file ever was"
        )

    def _is_state(self, key: str, new: Version) -> bool:
        path = path_of(key)
        states = self._states()
        if (f"{FOLDER}/{path}", new.content) in states:
            return True
        earlier = (v for v in self._bucket.history if v is not new and v.content == new.content)
        if CONFLICT in path:
            if not new.content:
                return True  # what an interrupted save left, moved aside for the bucket's version
            return any(content == new.content for _, content in states) or any(earlier)
        return any(v.key == key and v.writer not in self.machines for v in earlier)

    def _states(self) -> set[tuple[str, bytes]]:
        return next(iter(self.machines.values())).disk.states

    def _no_foreign_destruction(self, machine: Machine, key: str, old: Version) -> None:
        self.checked["G3"] += 1
        if key.endswith("/") and not old.content:
            return
        if old.writer == machine.name or old.content in machine.disk.shown:
            return
        if any(content == old.content for _, content in machine.disk.states):
            return
        if self._came_after_the_look(machine, key, old):
            return
        if self._is_reachable(old):
            return
        self.object("G3", f"{machine.name} destroyed {old} of {old.writer}, which it never showed to its user")

    def _came_after_the_look(self, machine: Machine, key: str, old: Version) -> bool:
        """No server compares, and it came between this machine's look and the write or delete that followed it."""
        return self._bucket.writes is not Writes.FULL and old.at_s > machine.looked.get(key, -1.0)

    def _is_reachable(self, lost: Version) -> bool:
        if any(v is not lost and v.content == lost.content for v in self._bucket.live.values()):
            return True
        later = (v for v in self._bucket.history if v.number > lost.number and v.content == lost.content)
        return any(v.ended_by not in self.machines for v in later)  # it was kept, and a person deleted it

    def _delete_has_proof(self, machine: Machine, key: str, old: Version) -> None:
        self.checked["G4"] += 1
        path = f"{FOLDER}/{path_of(key).rstrip('/')}"
        if key.endswith("/"):
            return  # holds nothing; G7 sees when it is wrong
        if path not in machine.disk.removed:
            self.object("G4", f"{machine.name} deleted {key!r}, which nobody had removed from its folder")
        if not self._was_kept(old) and not self._came_after_the_look(machine, key, old):
            self.object("G4", f"{machine.name} deleted {key!r} without keeping {old} anywhere")

    def _was_kept(self, old: Version) -> bool:
        """In the trash, or under the name that it was moved to (where somebody may have gone on with it).

        What a delete that was sent twice meets the second time may be the same content, put back: that is kept, too.
        """
        copies = [v for v in self._bucket.history if v.content == old.content and v.key != old.key]
        return any(v.number > old.number or (v.key.startswith(TRASH) and v.ended_at_s is None) for v in copies)

    # -- the disks

    def _on_displaced(self, machine: Machine, path: str, node: Inode) -> None:
        """The engine takes a visible file from its name: its content must be in the bucket, or still be here."""
        if node.is_dir or not path.startswith(f"{FOLDER}/") or is_ignored(path[len(FOLDER) + 1 :]):
            return
        if (path, bytes(node.content)) not in machine.disk.states or is_unfinished(machine.disk, path):
            return  # the debris of an interrupted save
        self.checked["local"] += 1
        content = bytes(node.content)
        if any(v.content == content for v in self._bucket.history):
            return
        self.object("G3", f"{machine.name}'s engine displaced {content[:40]!r} at {path!r}, which was saved nowhere")

    # -- claims

    def check_journal(self, machine: Machine, journal: Journal) -> None:
        """G1: every row names a version that the server acknowledged, with this very content."""
        past = self._bucket.named
        for path, row in journal.below(""):
            self.checked["G1"] += 1
            key = _key(path)
            version = past.get((key, row.version))
            if version is None:
                self.object("G1", f"{machine.name}'s journal names a version of {key!r} that never was: {row.version}")
                continue
            if row.md5 is not None and version.md5 != row.md5:
                self.object("G1", f"{machine.name}'s journal says that {version} has another content than it has")
            if path.endswith("/") or row.entry.kind is not Kind.FILE:
                continue
            try:
                node = machine.disk.find(f"{FOLDER}/{path}")
            except OSError:
                continue
            if unchanged(entry_of(machine.disk.stamp(node)), row) and bytes(node.content) != version.content:
                self.object("G1", f"{machine.name}'s journal takes {path!r} for {version}, and it is not")

    def _on_removed(self, machine: Machine, path: str, node: Inode) -> None:
        """The engine follows a delete in the bucket: there must have been one."""
        live = self._bucket.live.get(_key(path[len(FOLDER) + 1 :]))
        if live is not None and live.content == bytes(node.content) and live.ended_by is None:
            self.checked["G4"] += 1
            if not any(v.key == live.key and v.ended_how == "delete" for v in self._bucket.history):
                self.object("G4", f"{machine.name} removed {path!r} here, which is in the bucket and always was")

    def check_saved(self, machine: Machine) -> bool:
        """G1: when status says saved, every file that its program has closed is committed on the server.

        False when that cannot be asked at this moment.
        """
        if (
            machine.is_deaf()
            or machine.overflows()
            or any(self._world.now_s < until_s + AUDIT_S for until_s in machine.disk.hidden.values())
        ):
            return False  # what cannot be read is named as a problem, and no event tells that it can be read again
        committed = self._bucket.contents
        for path, node in machine.disk.walk(FOLDER) if machine.disk.exists(FOLDER) else ():
            inner = path[len(FOLDER) + 1 :]
            content = bytes(node.content)
            if node.is_dir or is_ignored(inner) or not node.mode & 0o400:
                continue
            if is_unfinished(machine.disk, path):
                continue  # a program is still writing it
            self.checked["saved"] += 1
            if (_key(inner), content) not in committed:
                self.object("G1", f"{machine.name} says saved, but {inner!r} of {_age(self._world, node)} s ago is not")
        return True

    def check_quiet(self, machine: Machine, journal: Journal, named: set[str]) -> None:
        """G7: local = remote = journal, but for paths that are `named` to people as staying in the bucket."""
        self.checked["G7"] += 1
        local = tree(machine.disk)
        remote = {k: (v.content, v.meta.get("symlink") == "1") for k, v in self._bucket.user_keys().items()}
        crowded = crowded_keys(set(remote) | set(local)) | {_key(path) for path in named}
        for key in sorted(local.keys() | remote.keys()):
            if key in crowded or (key in local and key in remote and local[key] == remote[key]):
                continue
            if key in local and is_unfinished(machine.disk, f"{FOLDER}/{path_of(key)}"):
                continue  # what a crash left in the middle of a save: the good copy stays in the bucket
            mine, theirs = local.get(key), remote.get(key)
            self.object("G7", f"{machine.name} is quiet, but {key!r} is {_show(mine)} here and {_show(theirs)} there")
        rows = {_key(path): row.version for path, row in journal.below("")}
        live = {key: version.tag for key, version in self._bucket.user_keys().items()}
        for key in sorted((rows.keys() | live.keys()) - crowded):
            if rows.get(key) != live.get(key):
                self.object("G7", f"{key!r} is {rows.get(key)} in the journal and {live.get(key)} in the bucket")

    @property
    def enforces(self) -> bool:
        """Whether the server compares before it writes."""
        return self._bucket.writes is Writes.FULL


def tree(disk: Disk) -> dict[str, tuple[bytes, bool]]:
    """What the bucket should hold of a folder: key -> (content, whether it is a link); empty folders as `dir/`."""
    found: dict[str, tuple[bytes, bool]] = {}
    if not disk.exists(FOLDER):
        return found
    for path, node in disk.walk(FOLDER):
        inner = path[len(FOLDER) + 1 :]
        if is_ignored(inner):
            continue
        if not node.is_dir:
            found[_key(inner)] = (bytes(node.content), node.is_link)
        elif not any(not is_ignored(f"{inner}/{name}") for name in node.names):
            found[_key(inner) + "/"] = (b"", False)
    return found


def looks_of(disk: Disk, bucket: Bucket) -> dict[str, tuple[object, ...]]:
    """Content, kind, mode and time of everything that is saved of a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for key, (content, is_link) in tree(disk).items():
        if key.endswith("/"):
            found[key] = (b"", False)
            continue
        inode = disk.find(f"{FOLDER}/{path_of(key)}")
        version = bucket.live.get(key)
        has_time = version is not None and "mtime" in version.meta  # else somebody else put it there
        mtime_ns = inode.mtime_ns if has_time else 0
        found[key] = (content, True) if is_link else (content, False, inode.mode & 0o777, mtime_ns)
    return found


def is_unfinished(disk: Disk, path: str) -> bool:
    """Whether a program is in the middle of saving the file, or was when it died."""
    if path.endswith("/") or not disk.exists(path):
        return False
    folder, _, name = path.rpartition("/")
    return disk.exists(f"{folder}/.~{name}") or (path, bytes(disk.find(path).content)) not in disk.states


def crowded_keys(keys: set[str]) -> set[str]:
    """Keys of which no folder can hold all: a file and a folder of one name. They stay in the bucket."""
    folders = {key[:at] for key in keys for at, char in enumerate(key) if char == "/"}
    names = keys & folders
    return names | {key for key in keys if any(key.startswith(f"{name}/") for name in names)}


def is_ignored(path: str) -> bool:
    """Whether the default rules leave a path of this simulation out."""
    return is_ours(path) or any(part.startswith(".~") for part in path.split("/"))


def _key(path: str) -> str:
    from sync.names import key_of

    return key_of(path)


def _show(side: tuple[bytes, bool] | None) -> str:
    return "absent" if side is None else f"{side[0][:24]!r}{' (link)' if side[1] else ''}"


def _age(world: World, node: Inode) -> str:
    return f"{(world.clock_ns() - node.ctime_ns) / 1e9:.1f}"


__all__ = ["LEASE", "TRASH", "Laws", "Machine", "is_ignored", "tree"]
