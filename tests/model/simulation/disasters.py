"""What goes wrong around the engine, one method each, and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.model.simulation.memory_files import FOLDER

if TYPE_CHECKING:
    from tests.model.simulation.lifetime import Lifetime


class Disasters:
    """They strike a lifetime; the names of the methods are the faults that are counted."""

    def __init__(self, of: Lifetime) -> None:
        self._of = of
        self._all: tuple[Callable[[], None], ...] = (
            *(self.crash, self.crash, self.crash, self.vanish, self.pause, self.partition, self.takeover),
            *(self.cut_power, self.lose_journal, self.lose_folder, self.jump, self.deafen, self.empty_folder),
            *(self.overflow, self.overflow, self.write_while_read, self.flush_in_a_save, self.one_way),
        )

    def strike(self) -> None:
        """One of them, now."""
        what: Callable[[], None] = self._of.rng.choice(self._all)
        if self._of.favours and self._of.rng.random() < 0.8:
            what = getattr(self, self._of.rng.choice(self._of.favours))
        self._of.world.note(f"disaster: {what.__name__}")
        self._of.faults[what.__name__] += 1
        what()

    def crash(self) -> None:
        """SIGKILL at a random operation; the process is started again on the same disk."""
        life = self._of.somebody()
        if life is not None:
            life.crash_in = self._of.rng.choice((1, 3, 10, 40, 150))
            self._within(1, 30, lambda: self._of.revive(life.node))

    def vanish(self) -> None:
        """The machine is gone with its disk; another one starts."""
        life = self._of.somebody()
        if life is not None:
            self._of.lose(life.node)
            life.die()
            self._of.world.at(self._of.world.now_s + self._of.rng.uniform(1, 40), self._start_another)

    def pause(self) -> None:
        """SIGSTOP for a moment or for an hour, during which another node may start."""
        life = self._of.somebody()
        if life is not None:
            life.pause(self._of.rng.choice((0.5, 18.0, 25.0, 3600.0)))
            if self._of.rng.random() < 0.6:
                self._of.world.at(self._of.world.now_s + self._of.rng.uniform(0, 30), self._start_another)

    def partition(self) -> None:
        """One node does not reach the bucket for a while; another may."""
        life = self._of.somebody()
        if life is not None:
            life.network.partition_until_s = self._of.world.now_s + self._of.rng.uniform(1, 90)
            if self._of.rng.random() < 0.4:
                self._of.world.at(self._of.world.now_s + self._of.rng.uniform(0, 30), self._start_another)

    def one_way(self) -> None:
        """Deletes of a node are done and not answered for a while; what it is about comes back meanwhile."""
        life = self._of.somebody()
        if life is not None:
            away_s = self._of.rng.uniform(20, 70)
            life.network.mute_until_s = self._of.world.now_s + away_s + self._of.rng.uniform(0, 20)
            self._of.people[life.node.name].put_aside_for(away_s)

    def takeover(self) -> None:
        """A second node starts while the first is well."""
        self._of.begin(self._of.new_node())

    def cut_power(self) -> None:
        """The machine loses power and comes back with what its disk kept."""
        life = self._of.somebody()
        if life is not None:
            life.die()
            life.node.cut_power(self._of.rng)
            self._within(1, 20, lambda: self._of.revive(life.node))

    def lose_journal(self) -> None:
        """The process dies and its state folder is lost."""
        life = self._of.somebody()
        if life is not None:
            life.die()
            life.node.lose_journal()
            self._within(0, 10, lambda: self._of.revive(life.node))

    def lose_folder(self) -> None:
        """The folder is remounted empty, or removed; nobody meant to delete anything."""
        life = self._of.somebody()
        if life is not None and life.node.disk.exists(FOLDER):
            disk = life.node.disk
            disk.root.names.pop(FOLDER)
            life.node.deaf_until_s = self._of.world.now_s + 20.0  # the watches were on what is gone
            if self._of.rng.random() < 0.7:
                disk.mkdir(FOLDER)

    def jump(self) -> None:
        """The wall clock of a machine jumps."""
        life = self._of.somebody()
        if life is not None:
            life.node.skew_s += self._of.rng.choice((-86_400.0, 86_400.0, 5.0, -5.0))

    def deafen(self) -> None:
        """The watcher loses every event for a while, and says nothing."""
        life = self._of.somebody()
        if life is not None:
            life.node.deaf_until_s = self._of.world.now_s + self._of.rng.uniform(1, 20)

    def overflow(self) -> None:
        """The watcher's queue overflows; it says so afterwards."""
        life = self._of.somebody()
        if life is not None:
            life.overflow(self._of.rng.uniform(0.1, 6))

    def empty_folder(self) -> None:
        """rm -rf *."""
        life = self._of.somebody()
        if life is not None and life.node.disk.exists(FOLDER):
            self._of.people[life.node.name].empty_the_folder()

    def write_while_read(self) -> None:
        """A program writes into a file of which a worker has read one piece and not yet the next."""
        life = self._of.somebody()
        if life is not None and life.node.disk.exists(FOLDER):
            person = self._of.people[life.node.name]
            person.save_large()
            life.ambush("read model.pt", 2, lambda: person.scribble("model.pt"))

    def flush_in_a_save(self) -> None:
        """Everything is saved at once on demand, while a program saves twice within a tick of the file's clock."""
        life = self._of.somebody()
        if life is not None and life.node.disk.exists(FOLDER):
            person = self._of.people[life.node.name]
            person.save_named("run.py")
            life.ambush("put run.py", 1, lambda: person.scribble("run.py"))
            life.flush(0.2)

    def _within(self, least_s: float, most_s: float, what: Callable[[], None]) -> None:
        moment_s = self._of.world.now_s + self._of.rng.uniform(least_s, most_s)
        self._of.world.at(moment_s, what)

    def _start_another(self) -> None:
        self._of.begin(self._of.new_node())
