"""What S3 servers answer, read: listings, parts, errors, dates (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from sync.errors import Transient
from sync.stores import ObjectInfo, Part
from sync.stores.network import quoted


class Refused(Exception):
    """An answer that is no success. `said` is the server's own sentence; `after_s` when it asked for patience."""

    def __init__(self, status: int, code: str = "", said: str = "", after_s: float | None = None) -> None:
        super().__init__(f"HTTP {status} {code}")
        self.status = status
        self.code = code
        self.said = said
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, and where the next one starts ("" after the last)."""

    objects: tuple[ObjectInfo, ...]
    next: str


def tree(body: bytes) -> ElementTree.Element:
    """The document's root. Raises Transient for what is no XML: a proxy's or a hotel's page."""
    try:
        return ElementTree.fromstring(body.strip())  # expat bounds entities itself since 2.4.1
    except ElementTree.ParseError as error:
        raise Transient("the server's answer is no XML") from error


def name_of(element: ElementTree.Element) -> str:
    """The tag without its namespace: some servers give none, some another."""
    return element.tag.rpartition("}")[2]


def texts(element: ElementTree.Element) -> dict[str, str]:
    """The direct children's texts by name."""
    return {name_of(child): child.text or "" for child in element}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """What an answer that is no success says."""
    after = headers.get("retry-after", "")
    after_s = float(after) if after.isdigit() else None
    try:
        said = texts(tree(body)) if body.strip() else {}
    except Transient:
        said = {}
    return Refused(status, said.get("Code", ""), said.get("Message", ""), after_s)


def checked(body: bytes) -> dict[str, str]:
    """The texts of an answer with status 200. Raises Refused where the body is an error after all.

    Copies and the end of an upload begin to answer before they are done, so their failures come with a 200.
    """
    root = tree(body)
    found = texts(root)
    if name_of(root) == "Error":
        raise Refused(500, found.get("Code", ""), found.get("Message", ""))
    return found


def seconds(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 or HTTP date."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return parsedate_to_datetime(text).timestamp()


def page(body: bytes, above: str, version: int) -> Page:
    """A page of ListObjects (`version` 1) or ListObjectsV2; keys without `above`, the prefix of them all."""
    root = tree(body)
    top: dict[str, str] = {}
    contents: list[dict[str, str]] = []
    for child in root:
        name = name_of(child)
        if name == "Contents":
            contents.append(texts(child))
        else:
            top[name] = child.text or ""
    is_escaped = top.get("EncodingType") == "url"
    keys = [unquote_plus(item["Key"]) for item in contents] if is_escaped else [item["Key"] for item in contents]
    after = ""
    if top.get("IsTruncated", "").strip() == "true":
        if version == 1:
            after = top.get("NextMarker", "")
            after = (unquote_plus(after) if is_escaped else after) or (keys[-1] if keys else "")
        else:
            after = top.get("NextContinuationToken", "")
    return Page(tuple(_objects(zip(keys, contents, strict=True), above)), after)


def _objects(found: Iterator[tuple[str, dict[str, str]]], above: str) -> Iterator[ObjectInfo]:
    skip = len(above)
    for key, item in found:
        if key.startswith(above) and key != above:  # `above` itself: the prefix's own directory marker
            yield ObjectInfo(
                key[skip:], int(item["Size"]), quoted(item.get("ETag", "").strip()), seconds(item["LastModified"])
            )


def parts(body: bytes) -> tuple[tuple[Part, ...], int, bool]:
    """A page of ListParts: the parts, the last number seen, and whether there are more."""
    root = tree(body)
    found = [texts(child) for child in root if name_of(child) == "Part"]
    top = texts(root)
    acknowledged = tuple(Part(int(p["PartNumber"]), quoted(p.get("ETag", "")), int(p["Size"])) for p in found)
    return acknowledged, int(top.get("NextPartNumberMarker") or 0), top.get("IsTruncated") == "true"
