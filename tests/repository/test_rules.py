"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

HARD_LIMIT = 400
FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|managers?|base|handlers?)(_|$)")


def tracked(repository: Path, *patterns: str) -> list[Path]:
    """Files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.splitlines()
    return [repository / name for name in names if (repository / name).is_file()]


def test_no_product_file_is_longer_than_the_hard_limit(repository: Path) -> None:
    lengths = {
        str(path.relative_to(repository)): len(path.read_text().splitlines())
        for path in tracked(repository, "preflight/*.py", "sync/*.py")
    }
    assert lengths
    assert {name: n for name, n in lengths.items() if n > HARD_LIMIT} == {}


def test_module_names_are_nouns_of_the_domain(repository: Path) -> None:
    names = [path.stem for path in tracked(repository, "preflight/*.py", "sync/*.py")]
    assert [name for name in names if FORBIDDEN_NAMES.search(name)] == []


# Written in pieces so that this file does not hold what it forbids.
HOSTS = ["py" + "pi.org", "pythonhosted" + ".org", "npm" + "js.org", "npm" + "js.com", "deb.debian" + ".org"]


@pytest.mark.parametrize("host", HOSTS)
def test_no_registry_host_is_named(repository: Path, host: str) -> None:
    command = ["git", "grep", "--untracked", "-lF", host]
    found = subprocess.run(command, cwd=repository, capture_output=True, text=True).stdout.split()
    assert found == []


def test_locks_carry_hashes(repository: Path) -> None:
    locks = tracked(repository, "requirements*.txt", "images/**/requirements*.txt")
    assert locks
    for lock in locks:
        blocks = re.split(r"\n(?=\S)", lock.read_text().strip())
        unhashed = [block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block]
        assert unhashed == [], lock


def test_readme_starts_with_the_two_commands(repository: Path) -> None:
    first_screen = "\n".join((repository / "README.md").read_text().splitlines()[:40])
    assert "make up" in first_screen
    assert "make test" in first_screen
