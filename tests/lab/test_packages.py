"""What the user installed comes back, and what cannot come back blocks nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from preflight.lab.kernels import overlay_env
from preflight.lab.packages import Packages, difference, folder_commands, read_list, run_quietly, write_list


@pytest.mark.parametrize(
    ("now", "image", "expected"),
    [
        ({}, {"a": "a==1"}, {}),
        ({"a": "a==1"}, {"a": "a==1"}, {}),
        ({"a": "a==2"}, {"a": "a==1"}, {"a": "a==2"}),
        ({"b": "b==1", "a": "a==1"}, {"a": "a==1"}, {"b": "b==1"}),
    ],
)
def test_difference(now: dict[str, str], image: dict[str, str], expected: dict[str, str]) -> None:
    assert difference(now, image) == expected


def test_a_list_cannot_smuggle_options() -> None:
    text = "# note\n--index-url http://evil\n-e .\na==1\nB @ git+https://host/b@abc\nunpinned\n"
    assert read_list(text) == {"a": "a==1", "b": "B @ git+https://host/b@abc"}
    assert read_list(write_list(read_list(text))) == read_list(text)


def wheel(folder: Path, name: str, version: str) -> Path:
    """The smallest package there is."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


class Box:
    """One node's environment and folders."""

    def __init__(self, home: Path, data: Path) -> None:
        self.python = overlay_env(home / "env")
        self.data, self.state = data, home / "state"
        for folder in (self.data, self.state / "lab"):
            folder.mkdir(parents=True, exist_ok=True)
        self.packages = Packages(self.python, self.data, self.state)

    def pip(self, *words: str) -> None:
        why = run_quietly([str(self.python), "-m", "pip", *words])
        assert why == "", why

    def progress(self) -> dict[str, object]:
        document: dict[str, object] = json.loads((self.state / "lab" / "packages.json").read_text())
        return document


def test_comes_back_on_the_next_node(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "thesis_tools", "1.2")
    offline = ("--no-index", "--find-links", str(wheels))

    def run(argv: Sequence[str]) -> str:
        return run_quietly([*argv, *offline])

    data = tmp_path / "data"
    first = Box(tmp_path / "first", data)
    assert not first.packages.record(), "nothing is recorded before the replay"
    assert first.packages.replay(run).state == "none"
    assert not first.packages.record()
    first.pip("install", *offline, "thesis_tools")
    assert first.packages.record()
    kept = data / ".preflight-lab" / "packages.txt"
    assert read_list(kept.read_text()) == {"thesis_tools": "thesis_tools==1.2"}
    assert not first.packages.record(), "written only when something changed"

    second = Box(tmp_path / "second", data)
    done = second.packages.replay(run)
    assert (done.state, done.done, done.total) == ("done", 1, 1)
    assert run_quietly([str(second.python), "-c", "import thesis_tools"]) == ""
    assert second.progress()["state"] == "done"
    second.packages.record()
    assert "thesis_tools==1.2" in kept.read_text()
    second.pip("uninstall", "-y", "thesis_tools")
    assert second.packages.record()
    assert read_list(kept.read_text()) == {}


def test_what_cannot_come_back_stays_on_the_list_and_spoils_nothing(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "good", "1.0")
    data = tmp_path / "data"
    kept = data / ".preflight-lab" / "packages.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("gone==9.9\ngood==1.0\n")
    box = Box(tmp_path / "node", data)
    done = box.packages.replay(lambda argv: run_quietly([*argv, "--no-index", "--find-links", str(wheels)]))
    assert (done.state, done.done, done.failed) == ("incomplete", 1, ("gone==9.9",))
    assert done.why
    box.packages.record()
    assert read_list(kept.read_text()) == {"gone": "gone==9.9", "good": "good==1.0"}


def test_the_folders_own_lists(tmp_path: Path) -> None:
    python = Path("/env/bin/python")
    assert folder_commands(tmp_path, python) == []
    (tmp_path / "apt.txt").write_text("graphviz # plots\n\n-o evil\n")
    (tmp_path / "requirements.txt").write_text("a\n")
    update, install, pip = folder_commands(tmp_path, python)
    assert update[:2] == ["apt-get", "update"]
    assert install[-1] == "graphviz"
    assert pip[-2:] == ["-r", str(tmp_path / "requirements.txt")]
