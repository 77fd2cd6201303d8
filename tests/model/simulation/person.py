"""A person at a keyboard, and their programs: everything that the seed may do to a folder."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable

from tests.model.simulation.disk import Disk, Inode
from tests.model.simulation.memory_files import FOLDER
from tests.model.simulation.world import World

NAMES = (
    "thesis.ipynb",
    "run.py",
    "blue",
    "d/x.txt",
    "d/y.txt",
    "d/e/z.bin",
    "f/g/h.csv",
    "ünï \n\t😀 ",
    "\udcff.raw",
    "odd ‛ name.md",
)
FOLDERS = ("d", "d/e", "f", "f/g", "empty", "deep/er")
INSIDE_BLUE = "blue/x"
Step = Callable[[], None]


class Person:
    """Edits one disk. `wreck` allows what only a careless or unlucky person does."""

    def __init__(self, world: World, disk: Disk, name: str) -> None:
        self._world, self._disk, self._name = world, disk, name
        self._rng = world.rng
        self._count = 0
        self.is_away = False  # the disk is gone: nothing more happens to it
        self.deeds: list[tuple[int, Callable[[], None]]] = [
            (14, self.save),
            (5, self.save_as_jupyter),
            (2, self.die_in_jupyter_save),
            (4, self.save_by_rename),
            (4, self.save_slowly),
            (3, self.append),
            (3, self.overwrite_in_place),
            (2, self.edit_twice_at_once),
            (2, self.edit_and_restore_time),
            (6, self.delete),
            (5, self.rename),
            (2, self.swap),
            (3, self.rename_folder),
            (2, self.remove_folder),
            (3, self.make_folder),
            (2, self.chmod),
            (2, self.touch),
            (2, self.link),
            (1, self.folder_becomes_link),
            (1, self.file_becomes_folder),
            (2, self.copy),
            (1, self.blink),
            (2, self.save_empty),
            (2, self.save_large),
            (1, self.hide),
            (2, self.put_aside),
        ]
        self._weights = [weight for weight, _ in self.deeds]

    def act(self) -> None:
        """One deed; one that makes no sense just now is no deed."""
        if self.is_away or not self._disk.exists(FOLDER):
            return
        deed = self._rng.choices(self.deeds, self._weights)[0][1]
        self._world.note(f"{self._name} {deed.__name__}")
        with contextlib.suppress(OSError):
            deed()

    # -- saves

    def save(self) -> None:
        """open("w"), write, close, in one go."""
        self._write(self._path(), self._text())

    def save_empty(self) -> None:
        """A file that is meant to be empty."""
        self._write(self._at(f"empty-{self._rng.randint(1, 2)}"), b"")

    def save_large(self) -> None:
        """More than one read."""
        with contextlib.suppress(OSError):
            self._write(self._at("model.pt"), self._text() * 12)

    def save_as_jupyter(self) -> None:
        """Copy to a `.~` twin, truncate in place, write, close, remove the twin: with pauses in between."""
        path = self._at(self._rng.choice(("thesis.ipynb", "d/x.txt")))
        if not self._is_file(path):
            return self._write(path, self._text())
        if not self._is_settled(path):
            return None
        folder, _, name = path.rpartition("/")
        twin = f"{folder}/.~{name}"
        if self._disk.exists(twin):
            self._disk.unlink(twin)
        node = self._disk.create(twin)
        self._disk.write(node, bytes(self._disk.find(path).content), twin)
        self._disk.settled(node, twin)
        self._disk.write(self._disk.find(path), b"", path, truncate=True)
        opened, body = self._disk.find(path), self._text()

        def finish() -> None:
            self._disk.write(opened, body, path)
            self._close(opened, path)
            if self._disk.find(twin) is node:
                self._disk.unlink(twin)

        self._later(self._rng.choice((0.0, 0.01, 0.3, 3.0)), finish)
        return None

    def die_in_jupyter_save(self) -> None:
        """The server is killed after the truncation: the good copy is only in the twin."""
        path = self._at("thesis.ipynb")
        if not self._is_file(path) or not self._disk.find(path).content or self._rng.random() < 0.5:
            return
        if not self._is_settled(path):
            return
        twin = self._at(".~thesis.ipynb")
        if self._disk.exists(twin):
            self._disk.unlink(twin)
        node = self._disk.create(twin)
        self._disk.write(node, bytes(self._disk.find(path).content), twin)
        self._disk.write(self._disk.find(path), b"", path, truncate=True)

    def save_by_rename(self) -> None:
        """As vim and most editors: a new file takes the place of the old one."""
        path = self._path()
        temp = f"{path}.tmp"
        self._write(temp, self._text())
        with contextlib.suppress(OSError):
            self._move(temp, path)
            return
        self._disk.unlink(temp)

    def save_slowly(self) -> None:
        """Written in two pieces with a pause between; nobody may see the first piece alone as the file."""
        path, body = self._path(), self._text() + self._text()
        self._folder_of(path)
        node = self._disk.create(path)
        half = len(body) // 2
        self._disk.write(node, body[:half], path)
        self._disk.halves.add((path, body[:half]))

        def finish() -> None:
            self._disk.write(node, body[half:], path)
            self._close(node, path)

        self._later(self._rng.choice((0.005, 0.03, 0.04)), finish)

    def append(self) -> None:
        """As a log does."""
        path = self._path()
        node = self._disk.find(path)
        if not node.is_dir and not node.is_link and not path.endswith(".ipynb"):
            self._disk.write(node, self._text(), path)
            self._close(node, path)

    def overwrite_in_place(self) -> None:
        """The same length, another content."""
        path = self._path()
        node = self._disk.find(path)
        if node.is_dir or node.is_link or len(node.content) < 22:
            return
        self._disk.write(node, self._token().encode(), path, at=1)
        self._close(node, path)

    def edit_twice_at_once(self) -> None:
        """Two saves of one length within one tick of the file's clock, with something in between."""
        path = self._path()
        self.save_at(path)
        self._later(self._rng.choice((0.0, 0.001, 0.003)), lambda: self._overwrite(path))

    def edit_and_restore_time(self) -> None:
        """As `git checkout` or `cp -p`: another content of the same size under an old modification time."""
        path = self._path()
        node = self._disk.find(path)
        old = node.mtime_ns
        self._overwrite(path)
        self._disk.utime(path, old)

    def save_named(self, name: str) -> None:
        """A save of a given name, long enough to be scribbled on."""
        with contextlib.suppress(OSError):
            self._write(self._at(name), self._text() * 2)

    def scribble(self, name: str) -> None:
        """Write near the beginning and near the end, in place and in the same length."""
        with contextlib.suppress(OSError):
            path = self._at(name)
            node = self._disk.find(path)
            if node.is_dir or node.is_link or len(node.content) < 44:
                return
            token = self._token().encode()
            self._disk.write(node, token, path, at=1)
            self._disk.write(node, token, path, at=len(node.content) - len(token) - 1)
            self._close(node, path)

    def save_at(self, path: str) -> None:
        """A save of a given file."""
        self._write(path, self._text())

    def _overwrite(self, path: str) -> None:
        node = self._disk.find(path)
        if node.is_dir or node.is_link or len(node.content) < 22:
            return
        self._disk.write(node, self._token().encode(), path, at=1)
        self._close(node, path)

    # -- names

    def delete(self) -> None:
        """rm."""
        self._disk.unlink(self._path())

    def rename(self) -> None:
        """mv, also over another file."""
        new = self._path()
        self._folder_of(new)
        self._move(self._path(), new)

    def swap(self) -> None:
        """a -> t, b -> a, t -> b within one debounce."""
        a, b = self._path(), self._path()
        if a == b or not self._is_file(a) or not self._is_file(b):
            return
        self._move(a, self._at("t"))
        self._move(b, a)
        self._move(self._at("t"), b)

    def rename_folder(self) -> None:
        """mv of a whole folder."""
        new = self._at(self._rng.choice(("d", "f", "moved", "f/d")))
        self._move(self._at(self._rng.choice(("d", "f", "moved"))), new)

    def put_aside(self) -> None:
        """mv out of the folder, perhaps another try in its place, and mv back: the old content with the old time."""
        self._put_aside(self._rng.choice((0.5, 3.0, 15.0, 40.0)), tries_again=self._rng.random() < 0.4)

    def put_aside_for(self, seconds: float) -> None:
        """The same, and nothing in its place."""
        if not self.is_away and self._disk.exists(FOLDER):
            with contextlib.suppress(OSError):
                self._put_aside(seconds, tries_again=False)

    def _put_aside(self, seconds: float, *, tries_again: bool) -> None:
        here = [path for path in map(self._at, (*NAMES, *FOLDERS)) if self._disk.exists(path)]
        if not here:
            return
        path = self._rng.choice(here)
        self._count += 1
        aside = f"aside-{self._name.replace('/', '-')}-{self._count}"
        self._disk.rename(path, aside)
        if tries_again and not self._disk.find(aside).is_dir:
            self._later(self._rng.choice((0.1, 1.0)), lambda: self._write(path, self._text()))
        self._later(seconds, lambda: self._move(aside, path))

    def remove_folder(self) -> None:
        """rm -r."""
        self._disk.remove_tree(self._at(self._rng.choice(FOLDERS)))

    def make_folder(self) -> None:
        """mkdir -p, usually left empty."""
        self._folder_of(self._at(self._rng.choice(FOLDERS)) + "/x")

    def chmod(self) -> None:
        """chmod +x or -x."""
        path = self._path()
        self._disk.chmod(path, self._disk.find(path).mode & 0o7777 ^ 0o111)

    def touch(self) -> None:
        """A new time, also one in the future or the past."""
        shift = self._rng.choice((0, -86_400, 86_400, -3))
        self._disk.utime(self._path(), self._world.clock_ns() + shift * 1_000_000_000)

    def link(self) -> None:
        """A symbolic link: inside, outside, dangling, to itself."""
        path = self._at(self._rng.choice(("link", "d/link")))
        if self._disk.exists(path):
            self._disk.unlink(path)
        self._folder_of(path)
        self._disk.symlink(self._rng.choice(("run.py", "/etc/passwd", "nowhere", "link", "d")), path)

    def folder_becomes_link(self) -> None:
        """A folder is replaced by a link of its name."""
        self._move(self._at("d"), self._at("was-d"))
        self._disk.symlink("was-d", self._at("d"))

    def file_becomes_folder(self) -> None:
        """`blue` is a file, then a folder with a file, or the other way round."""
        path = self._at("blue")
        if self._is_file(path):
            self._disk.unlink(path)
            self._write(self._at(INSIDE_BLUE), self._text())
        elif self._disk.exists(path):
            self._disk.remove_tree(path)
            self._write(path, self._text())

    def copy(self) -> None:
        """cp: the same content twice."""
        content = bytes(self._disk.find(self._path()).content)
        self._write(self._path(), content)

    def blink(self) -> None:
        """A file that lives for 50 ms."""
        path = self._at("blink.tmp")
        self._write(path, self._text())
        self._later(0.05, lambda: self._disk.unlink(path))

    def hide(self) -> None:
        """A place that cannot be read for a while."""
        path = self._at(self._rng.choice(("d", "f/g", "run.py")))
        node = self._disk.find(path)
        mode = node.mode & 0o7777
        if not mode & 0o400:
            return  # hidden already: what it is shown with must be a mode in which it can be read
        hidden_s = self._rng.uniform(1, 20)
        self._disk.chmod(path, 0)
        self._disk.hidden[path] = self._world.now_s + hidden_s
        self._later(hidden_s, lambda: self._disk.show(node, mode))

    def empty_the_folder(self) -> None:
        """rm -rf *."""
        for name in self._disk.names(FOLDER):
            if name != ".preflight":
                self._disk.remove_tree(self._at(name))

    # -- inside

    def _path(self) -> str:
        return self._at(self._rng.choice(NAMES))

    def _at(self, path: str) -> str:
        return f"{FOLDER}/{path}"

    def _text(self) -> bytes:
        tail = "".join(self._rng.choice("abcdefgh ") for _ in range(self._rng.choice((0, 0, 5, 60))))
        return f'"{self._token()}{tail}"'.encode()  # a JSON document, as a notebook is

    def _token(self) -> str:
        self._count += 1
        return f"<{self._name}{self._count:09}>........"[:20]

    def _is_file(self, path: str) -> bool:
        try:
            node = self._disk.find(path)
        except OSError:
            return False
        return not node.is_dir and not node.is_link

    def _is_settled(self, path: str) -> bool:
        """Whether no other program is in the middle of writing it: two at once spoil it for everybody."""
        return (path, bytes(self._disk.find(path).content)) in self._disk.states

    def _folder_of(self, path: str) -> None:
        here = ""
        for part in path.split("/")[:-1]:
            here = f"{here}/{part}" if here else part
            if not self._disk.exists(here):
                self._disk.mkdir(here)

    def _write(self, path: str, body: bytes) -> None:
        self._folder_of(path)
        node = self._disk.create(path)
        self._disk.write(node, body, path)
        self._close(node, path)

    def _close(self, node: Inode, path: str) -> None:
        self._disk.settled(node, path)

    def _move(self, old: str, new: str) -> None:
        self._disk.rename(old, new)
        self._disk.note_states(new)
        if self._disk.find(new).is_dir:
            self._disk.note_twins(new)

    def _later(self, after_s: float, step: Step) -> None:
        def act() -> None:
            if not self.is_away:
                with contextlib.suppress(OSError):
                    step()

        if after_s <= 0:
            act()
        else:
            self._world.at(self._world.now_s + after_s, act)


def name_bytes(path: str) -> bytes:
    """A path as the kernel has it."""
    return os.fsencode(path)


def console_text(rng: random.Random, number: int) -> bytes:
    """Content that somebody uploads in a browser."""
    return f"<console{number:09}>".encode() + bytes(rng.randrange(32, 127) for _ in range(rng.choice((0, 9))))
