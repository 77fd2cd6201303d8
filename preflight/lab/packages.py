"""What the user installed comes back: recorded with the folder, installed again on the next node in the background.

Recorded is the difference between the kernel's environment now and as the image brought it, with exact versions. A
package that cannot be installed again is a warning in the panel and stays on the list; it never blocks a start.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from preflight.lab.documents import FOLDER
from preflight.lab.whole import atomic_writing

log = logging.getLogger(__name__)
LIST = "packages.txt"
INSTALL_LIMIT_S = 1800.0  # torch is 3 GB
WHERE_LIMIT_S = 30.0
HEAD = "# What you installed, for the next node. Kept by preflight; delete a line to forget a package.\n"


@dataclass(frozen=True, slots=True)
class Progress:
    """Shown in the panel. `state`: none | installing | done | incomplete."""

    state: str = "none"
    done: int = 0
    total: int = 0
    why: str = ""
    failed: tuple[str, ...] = ()


def difference(now: Mapping[str, str], image: Mapping[str, str]) -> dict[str, str]:
    """Packages that are new or of another version (name -> requirement). Pure."""
    return {name: what for name, what in now.items() if image.get(name) != what}


def read_list(text: str) -> dict[str, str]:
    """Name -> requirement of a kept list. Lines that are no exact requirement are left out: they could be options."""
    lines = (line.strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith(("#", "-"))]
    return {line.replace("==", " ").split()[0].lower(): line for line in kept if "==" in line or " @ " in line}


def write_list(packages: Mapping[str, str]) -> str:
    """The list as text."""
    return HEAD + "".join(f"{packages[name]}\n" for name in sorted(packages))


def requirement(found: Distribution) -> str | None:
    """`name==version`, or `name @ url` for what came from version control; None for local trees."""
    name = found.metadata["Name"]
    if not name:
        return None
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return None if origin.get("url", "").startswith("file:") else f"{name}=={found.version}"


def installed(folders: Iterable[Path]) -> dict[str, str]:
    """Name -> requirement of everything in these site-packages."""
    found: dict[str, str] = {}
    for one in distributions(path=[str(folder) for folder in folders]):
        try:
            what = requirement(one)
        except (OSError, ValueError, KeyError):  # half removed by a pip that was killed
            continue
        if what:
            found.setdefault(str(one.metadata["Name"]).lower(), what)
    return found


def site_folders(python: Path) -> tuple[Path, ...]:
    """Where this interpreter installs to. Raises OSError or subprocess.SubprocessError."""
    code = "import json, sysconfig; print(json.dumps([sysconfig.get_path(n) for n in ('purelib', 'platlib')]))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, timeout=WHERE_LIMIT_S, check=True)
    return tuple(Path(folder) for folder in dict.fromkeys(json.loads(done.stdout)))


class Packages:
    """Recording and replaying for one environment."""

    def __init__(self, python: Path, data_dir: Path, state_dir: Path) -> None:
        """Raises OSError or subprocess.SubprocessError when the interpreter cannot be asked."""
        self._python = python
        self._folders = site_folders(python)
        self._list = data_dir / FOLDER / LIST
        self._image_file = state_dir / "lab" / "image-packages.json"
        self._progress_file = state_dir / "lab" / "packages.json"
        self._stamp: object = None
        self._is_replaying = True  # until `replay` has run, what is missing is not what the user removed
        self._failed: dict[str, str] = {}
        if self._image_file.exists():
            self._image: dict[str, str] = json.loads(self._image_file.read_text())
        else:
            self._image = installed(self._folders)
            with atomic_writing(self._image_file) as file:
                json.dump(self._image, file)

    def record(self) -> bool:
        """Write the list when something was installed or removed; whether it was. Cheap when nothing was."""
        if self._is_replaying:
            return False
        stamp = tuple(folder.stat().st_mtime_ns for folder in self._folders if folder.exists())
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        wanted = self._failed | difference(installed(self._folders), self._image)
        if wanted == self._kept() or (not wanted and not self._list.exists()):
            return False
        self._list.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writing(self._list) as file:
            file.write(write_list(wanted))
        return True

    def replay(self, run: Callable[[Sequence[str]], str]) -> Progress:
        """Install what the list has and the environment lacks. `run(argv)` gives "" or why it failed."""
        wanted = list(difference(self._kept(), installed(self._folders)).values())
        if not wanted:
            return self._end(Progress())
        self._say(Progress("installing", 0, len(wanted)))
        pip = [str(self._python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps"]
        failed: dict[str, str] = {}
        if run([*pip, *wanted]):
            for number, one in enumerate(wanted):  # find the one that spoils it for the others
                if why := run([*pip, one]):
                    failed[one] = why
                    log.warning("a package could not be installed again", extra={"package": one, "why": why})
                self._say(Progress("installing", number + 1, len(wanted), "", tuple(failed)))
        self._failed = {name: line for name, line in self._kept().items() if line in failed}
        state = "incomplete" if failed else "done"
        why = next(iter(failed.values()), "")
        return self._end(Progress(state, len(wanted) - len(failed), len(wanted), why, tuple(failed)))

    def _end(self, progress: Progress) -> Progress:
        self._is_replaying = False
        self._say(progress)
        return progress

    def _say(self, progress: Progress) -> None:
        with atomic_writing(self._progress_file) as file:
            json.dump(asdict(progress), file)

    def _kept(self) -> dict[str, str]:
        try:
            return read_list(self._list.read_text())
        except (OSError, UnicodeDecodeError):
            return {}


def folder_commands(data_dir: Path, python: Path) -> list[list[str]]:
    """For `apt.txt` and `requirements.txt` in the folder: what to run. Only when the user asked for it."""
    commands = []
    apt, requirements = data_dir / "apt.txt", data_dir / "requirements.txt"
    if apt.is_file():
        lines = (line.partition("#")[0].strip() for line in apt.read_text(errors="replace").splitlines())
        names = [line for line in lines if line and not line.startswith("-")]
        commands += [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names],
        ]
    if requirements.is_file():
        commands.append([str(python), "-m", "pip", "install", "--no-input", "-r", str(requirements)])
    return commands


def run_quietly(argv: Sequence[str]) -> str:
    """Run at low priority; "" when it worked, else its last line."""
    try:
        done = subprocess.run(
            ["nice", "-n", "10", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INSTALL_LIMIT_S,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        return f"{type(failed).__name__}: {argv[0]}"
    if done.returncode == 0:
        return ""
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    return (errors or lines or [f"exit code {done.returncode}"])[-1][:300]
