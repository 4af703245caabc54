"""GenBank flat files cut into records at LOCUS and ``//``, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from biote.corpora.blocks import DamagedInputError

HEAD_BYTES: Final = 16_384
"""Kept of what stands between LOCUS and ORIGIN: identifiers come first, annotation after."""

_LONGEST_LINE_BYTES: Final = 1 << 24
_NOT_LETTERS: Final = b" \t\r\n0123456789"


@dataclass(frozen=True, slots=True)
class FlatRecord:
    """The text of one record, its annotation left out."""

    line: int
    """Line of the file the record begins on, from 1."""
    head: bytes
    """LOCUS line and what follows, at most about ``head_bytes``; empty for text outside records."""
    sequence: bytes | None
    """Letters of the ORIGIN, or None without an ORIGIN line."""
    problem: str | None
    """Why this is no whole record."""


def cut_records(
    blocks: Iterable[bytes], *, head_bytes: int = HEAD_BYTES
) -> Iterator[FlatRecord]:
    """Cut a flat file into records.

    What stands before the first LOCUS line is the header of a release file and left out. A
    sequence is gathered letter by letter while the file is read, so a chromosome costs the
    memory of its letters and no more.

    Args:
        blocks: Content of the file.
        head_bytes: About how much to keep of what stands before ORIGIN.
    """
    cutter = _Cutter(head_bytes)
    problem: str | None = None
    chunks = _whole_lines(blocks)
    while True:
        try:
            chunk = next(chunks, None)
        except DamagedInputError as damage:
            problem = damage.what
            break
        if chunk is None:
            break
        yield from cutter.feed(chunk)
    yield from cutter.close(problem)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines, each with the line break *before* it and none after the last."""
    carry = b""
    for block in blocks:
        text = carry + block
        cut = text.rfind(b"\n")
        if cut < 0 and len(text) < _LONGEST_LINE_BYTES:
            carry = text
            continue
        if cut < 0:
            cut = len(text)  # no flat file has such lines: whatever it is, memory stays bounded
        yield b"\n" + text[:cut]
        carry = text[cut + 1 :]
    if carry:
        yield b"\n" + carry


class _Cutter:
    """The record being read, between one chunk of lines and the next."""

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._seen_locus = False
        self._start: int | None = None  # line of the open record
        self._head = bytearray()
        self._sequence: list[bytes] | None = None
        self._stray: int | None = None  # line of the first text outside any record
        self._line = 0  # lines before `_mark` in the chunk
        self._mark = 0

    def feed(self, chunk: bytes) -> Iterator[FlatRecord]:
        """Read a chunk of whole lines; yields the records that end in it."""
        self._mark = 0
        position = 0
        while position < len(chunk):
            terminator = _find_terminator(chunk, position)
            stop = len(chunk) if terminator < 0 else terminator
            yield from self._read_until(chunk, position, stop)
            if terminator < 0:
                break
            if self._start is not None:
                yield self._take(None)
            elif self._stray is not None:
                yield self._take_stray("no LOCUS line")
            line_end = chunk.find(b"\n", terminator + 1)
            position = len(chunk) if line_end < 0 else line_end
        self._line_at(chunk, len(chunk) - 1)

    def close(self, problem: str | None) -> Iterator[FlatRecord]:
        """End the file; ``problem`` says why it ended early, if it did."""
        if self._start is not None:
            yield self._take(problem or "no // at the end of the record")
        elif problem is not None:
            yield FlatRecord(self._line + 1, b"", None, problem)
        elif self._stray is not None:
            yield self._take_stray(
                "text outside any record" if self._seen_locus else "no LOCUS line"
            )

    def _read_until(self, chunk: bytes, position: int, stop: int) -> Iterator[FlatRecord]:
        locus = chunk.find(b"\nLOCUS", position, stop)
        while locus >= 0:
            self._add(chunk, position, locus)
            if self._start is not None:
                yield self._take("no // at the end of the record")
            elif self._stray is not None and self._seen_locus:
                yield self._take_stray("text outside any record")
            self._stray = None
            self._seen_locus = True
            self._start = self._line_at(chunk, locus)
            position = locus
            locus = chunk.find(b"\nLOCUS", position + 1, stop)
        self._add(chunk, position, stop)

    def _add(self, chunk: bytes, position: int, stop: int) -> None:
        if self._start is None:
            if self._stray is None and (text := chunk[position:stop].lstrip()):
                self._stray = self._line_at(chunk, stop - len(text) - 1)
        elif self._sequence is not None:
            self._sequence.append(chunk[position:stop].translate(None, _NOT_LETTERS))
        else:
            origin = chunk.find(b"\nORIGIN", position, stop)
            head_stop = stop if origin < 0 else origin
            if len(self._head) < self._head_bytes:
                self._head += chunk[position : min(head_stop, position + self._head_bytes)]
            if origin >= 0:
                self._sequence = []
                letters = chunk.find(b"\n", origin + 1, stop)
                if letters >= 0:
                    self._sequence.append(chunk[letters:stop].translate(None, _NOT_LETTERS))

    def _line_at(self, chunk: bytes, position: int) -> int:
        """Number of the line whose preceding line break is at or last before ``position``."""
        self._line += chunk.count(b"\n", self._mark, position + 1)
        self._mark = position + 1
        return self._line

    def _take(self, problem: str | None) -> FlatRecord:
        assert self._start is not None, "a record is taken once"
        pieces = self._sequence
        sequence = None if pieces is None else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        record = FlatRecord(self._start, bytes(self._head).lstrip(b"\n"), sequence, problem)
        self._start, self._sequence = None, None
        self._head.clear()
        return record

    def _take_stray(self, problem: str) -> FlatRecord:
        assert self._stray is not None, "text is taken once"
        record = FlatRecord(self._stray, b"", None, problem)
        self._stray = None
        return record


def _find_terminator(chunk: bytes, position: int) -> int:
    """Index of the line break before the next ``//`` line, or -1."""
    while (found := chunk.find(b"\n//", position)) >= 0:
        if chunk[found + 3 : found + 4] in (b"", b"\n", b"\r", b" ", b"\t"):
            return found
        position = found + 1
    return -1
