"""`docs/comparison.md`: every cell of its tables leads to evidence, and what it cites of this repository exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

VALUE = re.compile(r"\[(y|~|–|n/a|\d+|S3)\]\(#([a-z])(\d+)\)")
ANCHOR = re.compile(r'<a id="([a-z])(\d+)"></a>')
HOSTS = ("github.com", "rclone.org", "docs.nvidia.com", "docs.skypilot.co", "juicefs.com")
GITHUB = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+(/blob/[0-9a-f]{40}/[\w./-]+|/(issues|pull)/\d+)?")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "comparison.md").read_text()


def tables(page: str) -> list[list[list[str]]]:
    found = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()] for table in found]


def cells(page: str) -> dict[str, str]:
    """What each cell says, by the anchor that it leads to."""
    said: dict[str, str] = {}
    for table in tables(page):
        letters: list[str] = []
        for row in table[2:]:
            assert len(row) == len(table[0]), row
            matches = [VALUE.fullmatch(cell) for cell in row[2:]]
            assert all(matches), f"a cell without a value or without evidence: {row}"
            parts = [match.groups() for match in matches if match]
            assert {number for _, _, number in parts} == {row[0]}, row
            letters = letters or [letter for _, letter, _ in parts]
            assert [letter for _, letter, _ in parts] == letters, f"evidence of another tool: {row}"
            said |= {letter + number: value for value, letter, number in parts}
        assert len(set(letters)) == len(letters)
    return said


def evidence(page: str) -> list[tuple[list[str], str]]:
    lines = [line for line in page.splitlines() if "<a id=" in line]
    return [(["".join(found) for found in ANCHOR.findall(line)], ANCHOR.sub("", line)) for line in lines]


def definitions(page: str) -> dict[str, str]:
    return dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", page, re.MULTILINE))


def test_each_cell_has_its_evidence_and_nothing_else_is_there(page: str) -> None:
    said = cells(page)
    assert len(said) > 350
    anchors = [anchor for ids, _ in evidence(page) for anchor in ids]
    assert sorted(anchors) == sorted(said)
    for ids, text in evidence(page):
        assert len({anchor[0] for anchor in ids}) == 1, text
        assert text.startswith(f"- **{', '.join(anchor[1:] for anchor in ids)}** "), text


def test_each_line_of_evidence_can_be_looked_up(page: str) -> None:
    for _, text in evidence(page):
        assert re.search(r"\]\[[\w-]+\]|\]\((?!#)[\w./-]+\)|\bRun here[: ]", text), f"no proof: {text}"


def test_sources_are_pages_of_the_tools_at_a_version(page: str) -> None:
    defined = definitions(page)
    assert set(re.findall(r"\]\[([\w-]+)\]", page)) == set(defined)
    for address in defined.values():
        host = address.removeprefix("https://").split("/")[0]
        assert host in HOSTS, address
        assert host != "github.com" or GITHUB.fullmatch(address), address


def test_what_is_cited_of_this_repository_exists(page: str, repository: Path) -> None:
    links = re.findall(r"\[([^\]\n]+)\]\((?!#|https:)([\w./-]+)(?:#[\w-]+)?\)", page)
    assert len(links) > 60
    for text, path in links:
        file = repository / "docs" / path
        assert file.is_file(), path
        if text.startswith("test_"):
            assert re.search(rf"^\s*(async )?def {text}\(", file.read_text(), re.MULTILINE), f"no {text} in {path}"


def test_our_own_claims_rest_on_this_repository(page: str) -> None:
    """A plain yes rests on a test; that a bucket is enough is what the page of the clouds says."""
    said = cells(page)
    pages_are_enough = {"p18"}
    for ids, text in evidence(page):
        if ids[0][0] != "p":
            continue
        assert "](" in text, text
        claims = {anchor for anchor in ids if said[anchor] == "y"} - pages_are_enough
        assert not claims or re.search(r"\[test_\w+\]\(", text), text
