"""One lifetime: a bucket, people, nodes that come and go, all that goes wrong; then quiet, and the reckoning."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

from sync.lease import TERM_S
from sync.names import LEASE, STRANDED, key_of, path_of
from sync.report import state_of
from sync.status import State
from sync.stores import Writes
from tests.model.simulation.bucket import Bucket, Version
from tests.model.simulation.disasters import Disasters
from tests.model.simulation.faults import Fault, Network
from tests.model.simulation.laws import CONFLICT, Laws, crowded_keys, is_unfinished, looks_of, tree
from tests.model.simulation.memory_files import FOLDER
from tests.model.simulation.node import Life, Node, Plain
from tests.model.simulation.person import INSIDE_BLUE, NAMES, Person, console_text
from tests.model.simulation.world import Crash, World

FORGETFUL = ("cut_power", "lose_journal", "lose_folder")  # after these a node does not know its own writes
INTERRUPTED = ("thesis", "d/x")  # names that JupyterLab's saves are torn under: mended, with the torn one kept beside
PROMPT = "prompt.md"
PROMPT_S = 2.0  # the promise is a second, on a line of 100 ms that answers
QUIET_LIMIT_S = 900.0  # an audit, a backed-off retry and a lease term fit into it several times


@dataclass
class Outcome:
    """What became of one seed."""

    seed: int
    violations: list[str]
    trace: list[str]
    faults: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)


class Lifetime:
    """Everything follows from `seed` (and from the seeded bug, if `parts` holds one)."""

    def __init__(self, seed: int, parts: Plain | None = None, favours: tuple[str, ...] = ()) -> None:
        self.favours = favours
        self.disasters = Disasters(self)
        self.world = World(seed)
        self.rng = self.world.rng
        self.parts = parts
        self.faults: Counter[str] = Counter()
        writes = self.rng.choices(list(Writes), (6, 2, 2))[0]
        self.bucket = Bucket(writes, md5_tags=self.rng.random() < 0.5)
        self.laws = Laws(self.world, self.bucket)
        self.bucket.watchers.append(self._on_lease)
        self.networks: list[Network] = []
        self.rate = self.rng.choice((0.0, 0.0, 0.03, 0.15))
        self.states: set[tuple[str, bytes]] = set()
        self.nodes: list[Node] = []
        self.people: dict[str, Person] = {}
        self.lives: list[Life] = []
        self.in_order = self.rng.random() < 0.8
        self.together = random.Random(f"{seed}/together").random() < 0.5  # older seeds stay
        self._console_count = 0
        self._console_s = self._pulled_s = -1.0

    def run(self) -> Outcome:
        """Live, settle, and check."""
        try:
            self._live()
            self._settle()
        finally:
            self.world.close()
        return Outcome(self.world.seed, self.laws.violations, self.world.trace, self.faults, self.laws.checked)

    # -- living

    def _live(self) -> None:
        for _ in range(self.rng.choice((0, 0, 3, 8))):
            self._console_put()
        first = self.new_node()
        for _ in range(self.rng.choice((0, 3, 10))):
            self.people[first.name].act()
        self.begin(first)
        length_s = self.rng.choice((20.0, 60.0, 150.0))
        for _ in range(self.rng.randint(3, 40)):
            moment_s = self.rng.uniform(0, length_s)
            for number in range(self.rng.choice((1, 1, 1, 3))):
                self.world.at(moment_s + number * self.rng.choice((0.0, 0.01, 0.2)), self._edit)
        for _ in range(self.rng.choice((0, 0, 1, 4))):
            self.world.at(self.rng.uniform(0, length_s), self._console)
        for _ in range(8 if self.favours else self.rng.choice((0, 1, 2, 4))):
            self.world.at(self.rng.uniform(0, length_s), self.disasters.strike)
        self.world.run(length_s)

    def _edit(self) -> None:
        present = [node for node in self.nodes if not self.people[node.name].is_away]
        if present:
            self.people[self.rng.choice(present[-2:]).name].act()

    def _console(self) -> None:
        self._console_s = self.world.now_s
        keys = sorted(self.bucket.user_keys())
        if keys and self.rng.random() < 0.35:
            key = self.rng.choice(keys)
            self.world.note(f"console deletes {key!r}")
            self.bucket.remove(key, writer="console", at_s=self.world.now_s)
        else:
            self._console_put()

    def _console_put(self) -> None:
        self._console_count += 1
        key = key_of(self.rng.choice((*NAMES, INSIDE_BLUE, "console.csv", "d/console.txt")))
        body = console_text(self.rng, self._console_count)
        self.bucket.write(key, body, {}, writer="console", at_s=self.world.now_s)

    # -- nodes

    def somebody(self) -> Life | None:
        living = [life for life in self.lives if not life.is_dead]
        return self.rng.choice(living) if living else None

    def new_node(self) -> Node:
        node = Node(self.world, f"m{len(self.nodes) + 1}", self.states)
        self.nodes.append(node)
        self.people[node.name] = Person(self.world, node.disk, node.name)
        self.laws.admit(node)
        return node

    def begin(self, node: Node) -> Life:
        network = Network(self.rng, self.rate, seen=self.faults)
        if self.bucket.writes is not Writes.FULL:
            network.without = frozenset({Fault.LATE})  # nothing but a comparing server can stop such a write
        self.networks.append(network)
        life = Life(
            node,
            self.bucket,
            network,
            len(self.lives) + 1,
            parts=self.parts,
            profile={"in_order": self.in_order, "together": self.together},
        )
        life.on_turn = lambda: self._look(life)
        self.lives.append(life)
        self.world.note(f"{node.name} starts")
        life.begin()
        return life

    def revive(self, node: Node) -> None:
        if node.life is None and not self.people[node.name].is_away:
            self.begin(node)

    def lose(self, node: Node) -> None:
        self.people[node.name].is_away = True

    def _look(self, life: Life) -> None:
        """After a turn: what the process would tell the world must be true."""
        if not life.engine.restored:
            return  # a journal from before a power cut is not believed, and not yet replaced
        now = (life.node.disk.changes, len(self.bucket.history), life.journal.commits)
        if (life.number % 3 == 0 or life.rng.random() < 0.1) and now != life.journal_checked:
            life.journal_checked = now  # before anything changes it stays true
            self.laws.check_journal(life.node, life.journal)
        if now != life.saved_checked and state_of(life.engine)[0] is State.SAVED and self.laws.check_saved(life.node):
            life.saved_checked = now

    def _on_lease(self, who: str, key: str, old: Version | None, new: Version | None) -> None:
        """Somebody takes the prefix over: the others must notice within a term."""
        if key != LEASE or new is None:
            return
        before = json.loads(old.content)["instance"] if old is not None else ""
        if json.loads(new.content)["instance"] != before:
            self.world.note(f"{who} takes the lease")
            for node in self.nodes:
                end_s = min(node.grace_until_s or 1e18, self.world.now_s + TERM_S)
                node.grace_until_s = None if node.name == who else end_s

    # -- the end

    def _settle(self) -> None:
        for network in self.networks:
            network.rate, network.partition_until_s, network.mute_until_s = 0.0, -1.0, -1.0
        for life in self.lives:
            life.crash_in = None
            if not life.is_dead and life.paused_until_s > self.world.now_s + 30.0:
                self.world.at(self.world.now_s + 30.0, life.unpause)
        self.rate = 0.0
        self.world.run(self.world.now_s + 60.0)
        last = self._last_life()
        start_s = self.world.now_s
        while self.world.now_s < start_s + QUIET_LIMIT_S:
            self.world.run(self.world.now_s + 20.0)
            last = self._last_life()
            last.engine.is_released = True  # a person lets held deletes go
            missed_s = max([self._console_s, *last.node.disk.hidden.values()])
            if missed_s > self._pulled_s and last.engine.restored:  # and asks for what others put there
                self._pulled_s = self.world.now_s
                last.engine.wants_pull = True
                last.engine.wake()
            if self._is_quiet(last) and self.world.now_s > start_s + 100:
                break
        self._errors()
        if not self._is_quiet(last):
            self.laws.object("G7", f"{last.name} does not become quiet: {_why_busy(last)}")
            return
        self.laws.check_journal(last.node, last.journal)
        self.laws.check_quiet(last.node, last.journal, set(last.engine.problems))
        self._check_parked(last)
        self._check_conflicts()
        if not self.laws.violations:
            self._check_prompt(last)
        if not self.laws.violations:
            self._check_restore(last)

    def _is_quiet(self, life: Life) -> bool:
        """Whether nothing is left to do but what only a person can: a save that was interrupted in the middle."""
        engine = life.engine
        if engine.outage is not None or not engine.restored or engine.restore is not None:
            return False
        if engine.agenda.gone or engine.busy or engine.held or engine.wants_pull or engine.repull_s is not None:
            return False
        if engine.doubts.open.keys() - engine.agenda.pending.keys():  # the others wait for the same person
            return False
        return all(is_unfinished(life.node.disk, f"{FOLDER}/{path}") for path in engine.agenda.pending)

    def _last_life(self) -> Life:
        """The node that holds the prefix now; one is started if nobody does."""
        holders = [life for life in self.lives if not life.is_dead and not life.lease.is_lost and life.lease.epoch]
        if holders:
            # Where the server cannot compare, two may have counted to the same epoch: the record names the later one.
            return max(holders, key=lambda life: (life.lease.epoch, life.node.grace_until_s is None))
        waiting = [life for life in self.lives if not life.is_dead and not life.lease.is_lost]
        if waiting:
            return waiting[-1]
        home = [node for node in self.nodes if not self.people[node.name].is_away and node.life is None]
        return self.begin(home[-1] if home else self.new_node())

    def _errors(self) -> None:
        for life in self.lives:
            error = life.error()
            if error is not None and not isinstance(error, Crash):
                self.laws.object("bug", f"{life.name} ended with {type(error).__name__}: {error}")

    def _check_conflicts(self) -> None:
        """Where nobody but one machine ever wrote, and it lost nothing but processes, there is no conflict."""
        if len(self.nodes) > 1 or self._console_count or any(self.faults[name] for name in FORGETFUL):
            return
        self.laws.checked["no conflict"] += 1
        for version in self.bucket.history:
            path = path_of(version.key).partition(CONFLICT)[0]
            if CONFLICT in version.key and path not in INTERRUPTED:
                self.laws.object("G3", f"{version.key!r} was made, and nobody else has ever written")
                return

    def _check_parked(self, last: Life) -> None:
        """What a fenced node still had is in the bucket, under its name or stranded."""
        stored = {version.content for version in self.bucket.history}
        stranded = {version.content for key, version in self.bucket.live.items() if key.startswith(STRANDED)}
        for life in self.lives:
            if life.is_dead or life is last:
                continue
            self.laws.checked["parked"] += 1
            for key, (content, _) in tree(life.node.disk).items():
                if is_unfinished(life.node.disk, f"{FOLDER}/{path_of(key)}"):
                    continue  # a program is in the middle of saving it
                if content not in stored and content not in stranded:
                    self.laws.object("G5", f"{life.name} was fenced, and {key!r} was not parked")

    def _check_prompt(self, last: Life) -> None:
        """After any while of quiet a save is in the bucket within the window that was promised."""
        person = self.people[last.node.name]
        self.world.at(self.world.now_s + self.rng.uniform(0.0, 40.0), lambda: person.save_named(PROMPT))
        end_s = self.world.now_s + 41.0
        while self.world.now_s < end_s and not last.node.disk.exists(f"{FOLDER}/{PROMPT}"):
            self.world.run(self.world.now_s + 0.1)
        content = bytes(last.node.disk.find(f"{FOLDER}/{PROMPT}").content)
        end_s = self.world.now_s + PROMPT_S
        while self.world.now_s < end_s:
            self.world.run(self.world.now_s + 0.1)
            live = self.bucket.live.get(PROMPT)
            if live is not None and live.content == content:
                self.laws.checked["G2"] += 1
                return
        self.laws.object("G2", f"{PROMPT!r} is not in the bucket after {PROMPT_S} s: {_why_busy(last)}")

    def _check_restore(self, last: Life) -> None:
        """restore(flush(x)) == x, on a machine that knows nothing."""
        expected = looks_of(last.node.disk, self.bucket)
        node = self.new_node()
        life = self.begin(node)
        start_s = self.world.now_s
        while not life.engine.restored and self.world.now_s < start_s + 120:
            self.world.run(self.world.now_s + 5.0)
        self.laws.checked["restore"] += 1
        self._errors()
        got = looks_of(node.disk, self.bucket)
        keys = {*self.bucket.user_keys(), *expected, *got}
        crowded = crowded_keys(keys) | {key_of(p) for p in last.engine.problems}
        for path in sorted((expected.keys() | got.keys()) - crowded):
            if path in expected and is_unfinished(last.node.disk, f"{FOLDER}/{path_of(path)}"):
                continue
            if path.endswith("/") and any(other.startswith(path) for other in crowded):
                continue  # a file that had no place here has one there, and its folder is not empty
            mine, theirs = expected.get(path), got.get(path)
            if mine and theirs and self._wrote_the_same(path, last):
                mine, theirs = mine[:2], theirs[:2]
            if mine != theirs:
                self.laws.object("restore", f"{path!r} was {expected.get(path)} and came back as {got.get(path)}")

    def _wrote_the_same(self, key: str, last: Life) -> bool:
        """Whether somebody else put equal content over the last node's object, where ETags are MD5s.

        The version is the same then and a listing shows no difference: only the mode and mtime of the other writer
        tell of it, and nothing short of a HEAD for each object would. A rename's server-side copy takes them along.
        Content is compared all the same.
        """
        live = self.bucket.live.get(key)
        while live is not None and live.writer == last.name and live.source is not None:
            live = live.source
        return self.bucket.md5_tags and live is not None and live.writer != last.name


def _why_busy(life: Life) -> str:
    engine = life.engine
    parts = {
        "restored": engine.restored,
        "pending": sorted(engine.agenda.pending)[:5],
        "gone": sorted(engine.agenda.gone)[:5],
        "busy": engine.busy,
        "dirty": sorted(engine.dirty),
        "outage": engine.outage and str(engine.outage.error),
        "held": engine.held and engine.held.why,
        "restore": engine.restore,
        "epoch": life.lease.epoch,
        "lost": life.lease.is_lost,
    }
    return ", ".join(f"{name}={value}" for name, value in parts.items())
