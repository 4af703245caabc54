"""The coding features of one record's feature table, read by gb-io and checked.

gb-io guesses where a table is damaged: it reads ``1..x`` as ``1``, ``one-of(3,9)`` as a join, and
loses qualifiers that stand in a wrong column. So the table is cut here, gb-io is given features
in a record of our own making, and what it returns must fit the text. What it refuses costs that
feature only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

import gb_io

_SECTION: Final = re.compile(rb"^FEATURES", re.MULTILINE)
# A feature begins with its key in the first 20 columns; a qualifier there is a misplaced one.
_BEGIN: Final = re.compile(rb"^(?:(?: {1,20}|\t)([^\s/]\S*)|\S)", re.MULTILINE)
_UNUSUAL: Final = (b"\t", b"\r", b" \n", b"\n\n")  # what gb-io refuses or reads into a value
_ONE_BASE: Final = re.compile(r"\b(\d+)\.\.\1\b")

_DEEPEST: Final = 16
"""Parentheses inside parentheses; gb-io overruns its stack at some thousands."""

_BATCH: Final = 256
_OPENING: Final = (
    b"LOCUS       X                          1 bp    DNA     linear   UNK 01-JAN-2000\n"
    b"FEATURES             Location/Qualifiers\n"
)
_REFUSALS: Final = (ValueError, TypeError, RuntimeError, ArithmeticError, OSError)


@dataclass(frozen=True, slots=True)
class RawFeature:
    """The text of a feature."""

    line: int
    """Line of the file it begins on, from 1."""
    content: bytes
    """Its lines in UTF-8, as gb-io takes them."""
    lines: tuple[str, ...]
    """Its lines without the key, white space around them removed."""
    location: str
    """Its location without white space; it goes on until the first qualifier."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature that could be read."""

    line: int
    """Line of the file it begins on, from 1."""
    text: str
    """Its location as it is written, without white space."""
    location: gb_io.Location | None
    """The location as read, or None where that is not what is written."""
    qualifiers: Mapping[str, tuple[str, ...]]
    """Values of every qualifier in order, white space as it stands; "" without a value."""

    def first(self, qualifier: str) -> str:
        """First value of a qualifier, on one line, or an empty string.

        Args:
            qualifier: Its name.
        """
        return " ".join(next(iter(self.qualifiers.get(qualifier, ())), "").split())


@dataclass(frozen=True, slots=True)
class UnreadFeature:
    """A feature that could not be read."""

    line: int
    """Line of the file it begins on, from 1."""
    text: str
    """Its location as it is written, without white space."""
    problem: str
    """Why it could not be read."""


class FeatureTable:
    """The features of one record.

    Args:
        head: Record from LOCUS to ORIGIN.
        line: Line of the file the record begins on, from 1.
    """

    def __init__(self, head: bytes, line: int) -> None:
        self._text = _utf8(head)
        self._line = line

    def cut(self, key: str) -> Iterator[RawFeature]:
        """Yield the features with a key, in order, without reading them.

        Args:
            key: Key of a feature, such as ``CDS``.
        """
        text = self._text
        section = _SECTION.search(text)
        wanted = key.encode()
        mark = section.end() if section else 0
        line = self._line + text.count(b"\n", 0, mark)
        start: int | None = None
        for found in _BEGIN.finditer(text, mark):
            if start is not None:
                yield _raw(line, key, text[start : found.start()])
                start = None
            if found[1] == wanted:
                start = found.start()
                line += text.count(b"\n", mark, start)
                mark = start
        if start is not None:
            yield _raw(line, key, text[start:])

    def read(self, key: str) -> Iterator[Feature | UnreadFeature]:
        """Yield the features with a key, in order.

        Args:
            key: Key of a feature, such as ``CDS``.
        """
        found = self.cut(key)
        while batch := list(islice(found, _BATCH)):
            yield from _read(batch)

    def first(self, key: str) -> Feature | None:
        """The first feature with a key, or None where there is none that can be read.

        Args:
            key: Key of a feature, such as ``source``.
        """
        for raw in self.cut(key):
            (feature,) = _read([raw])
            return feature if isinstance(feature, Feature) else None
        return None


def _raw(line: int, key: str, content: bytes) -> RawFeature:
    """Split a feature into lines, and set one of unusual spacing anew for gb-io."""
    content = content.rstrip() + b"\n"
    key_and_location, *others = (text.strip() for text in content.decode().split("\n"))
    lines = (key_and_location[len(key) :].lstrip(), *others)
    parts: list[str] = []
    for text in lines:
        if text.startswith("/"):
            break
        parts.append(text)
    if any(spacing in content for spacing in _UNUSUAL):
        indented = (f"{' ' * 21}{text}\n" for text in others if text)
        content = "".join([f"     {key:<15} {lines[0]}\n", *indented]).encode()
    return RawFeature(line, content, lines, "".join("".join(parts).split()))


def _utf8(text: bytes) -> bytes:
    """The text in the one encoding gb-io takes; what is not in it is most likely Latin-1."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _read(batch: list[RawFeature]) -> list[Feature | UnreadFeature]:
    """Read features by gb-io: all at once, or one by one where it refuses them."""
    single = batch[0] if len(batch) == 1 else None
    problem = ""
    if any(_depth(raw.location) > _DEEPEST for raw in batch):
        problem = f"more than {_DEEPEST} parentheses inside each other"
    else:
        try:
            parsed = _parse(batch)
        except _REFUSALS as error:
            problem = str(error).partition("\n")[0]
        else:
            if len(parsed) == len(batch):
                return [_check(raw, one) for raw, one in zip(batch, parsed, strict=True)]
            problem = "a line that is neither location nor qualifier"
    if single is not None:
        return [UnreadFeature(single.line, single.location, problem)]
    return [feature for raw in batch for feature in _read([raw])]


def _parse(batch: list[RawFeature]) -> list[gb_io.Feature]:
    content = b"".join(raw.content for raw in batch)
    features: list[gb_io.Feature] = gb_io.load(io.BytesIO(_OPENING + content + b"//\n"))[0].features
    return features


def _check(raw: RawFeature, parsed: gb_io.Feature) -> Feature | UnreadFeature:
    """Compare what gb-io made of a feature with its text."""
    text = raw.location
    if len(parsed.qualifiers) != _count_qualifiers(raw.lines):
        problem = "a qualifier in a wrong column, or quotation marks that do not pair"
        return UnreadFeature(raw.line, text, problem)
    qualifiers: dict[str, list[str]] = {}
    for qualifier in parsed.qualifiers:
        qualifiers.setdefault(qualifier.key, []).append(qualifier.value or "")
    return Feature(
        raw.line, text, _location(parsed, text), {key: tuple(v) for key, v in qualifiers.items()}
    )


def _location(parsed: gb_io.Feature, text: str) -> gb_io.Location | None:
    """The location as gb-io reads it, if that is what is written."""
    try:
        location = parsed.location
    except _REFUSALS:
        return None
    written = _ONE_BASE.sub(r"\1", text).replace("order(", "join(")
    return location if _spell(location) == written else None


def _count_qualifiers(lines: tuple[str, ...]) -> int:
    """Number of qualifiers, -1 if the last is not closed; inside quotes a slash begins none."""
    number = 0
    quoted = False
    for line in lines:
        number += not quoted and line.startswith("/")
        quoted ^= line.count('"') % 2 == 1
    return -1 if quoted else number


def _depth(location: str) -> int:
    if location.count("(") <= _DEEPEST:
        return location.count("(")
    depth = deepest = 0
    for letter in location:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest


def _spell(location: gb_io.Location) -> str:
    """Write a location of joins, complements, ranges and places between bases."""
    if isinstance(location, gb_io.Range):
        start = f"{'<' * location.before}{location.start + 1}"
        end = f"{'>' * location.after}{location.end}"
        return start if start == end else f"{start}..{end}"
    if isinstance(location, gb_io.Between):
        return f"{location.start + 1}^{location.end + 1}"
    if isinstance(location, gb_io.Complement):
        return f"complement({_spell(location.location)})"
    if isinstance(location, gb_io.Join):
        return f"join({','.join(map(_spell, location.locations))})"
    return "?"
