"""GenBank flat files cut into records at LOCUS and ``//``, in bounded memory.

Legend: n line breaks of a chunk. A line is known by the byte after the break before it, so a chunk
may begin and end inside a line, but never where the first bytes of a line are still to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.corpora.blocks import DamagedInputError
from biote.corpora.spool import Letters, Spool

HEAD_BYTES: Final = 16_384
"""Kept of what stands between LOCUS and ORIGIN: identifiers come first, annotation after."""

_NOT_LETTERS: Final = b" \t\r\n0123456789"
_NO_END: Final = "no // at the end of the record"
_BREAK: Final = 10
_MARKER_BYTES: Final = 6  # of ORIGIN, the longest word that a line is known by
_AFTER_TERMINATOR: Final = frozenset((b"", b"\n", b"\r", b" ", b"\t"))
_MAY_MARK: Final = np.zeros(256, np.bool_)
_MAY_MARK[list(b"LO/")] = True


@dataclass(frozen=True, slots=True)
class FlatRecord:
    """The text of one record, its annotation left out."""

    line: int
    """Line of the file the record begins on, from 1."""
    head: bytes
    """LOCUS line and what follows, cut at ``head_bytes``; empty for text outside records."""
    sequence: Letters | None
    """Letters of the ORIGIN, or None without an ORIGIN line."""
    problem: str | None
    """Why this is no whole record."""


def cut_records(
    blocks: Iterable[bytes], *, head_bytes: int = HEAD_BYTES, scratch: Path | None = None
) -> Iterator[FlatRecord]:
    """Cut a flat file into records, the same whatever the size of the blocks.

    What stands before the first LOCUS line is the header of a release file and left out. Letters
    are gathered while the file is read, those of a chromosome on disk, so that neither a long
    record nor a long line costs memory.

    Args:
        blocks: Content of the file.
        head_bytes: How much to keep of what stands before ORIGIN.
        scratch: Folder for letters that do not fit into memory; None for the system's own.
    """
    cutter = _Cutter(head_bytes, scratch)
    problem: str | None = None
    source = iter(blocks)
    try:
        while True:
            try:
                block = next(source, None)
            except DamagedInputError as damage:
                problem = damage.what
                break
            if block is None:
                break
            yield from cutter.feed(block)
        yield from cutter.close(problem)
    finally:
        cutter.discard()


class _Cutter:
    """The record being read, between one chunk and the next."""

    def __init__(self, head_bytes: int, scratch: Path | None) -> None:
        self._head_bytes = head_bytes
        self._scratch = scratch
        self._carry = b"\n"  # as if a line break stood before the first line
        self._lines = 0  # line breaks in the chunks before
        self._seen_locus = False
        self._start = 0  # line of the open record, 0 without one
        self._head: list[bytes] = []
        self._room = head_bytes  # for more of the head
        self._in_letters = False  # the ORIGIN line of the open record was read
        self._letters = b""  # what was read after it, unless it came in several chunks
        self._spool: Spool | None = None  # then it is here
        self._skipping = False  # the rest of an ORIGIN or // line is still to come
        self._stray = 0  # line of the first text outside any record, 0 without any

    def feed(self, block: bytes) -> list[FlatRecord]:
        """Read what follows; gives the records that end in it."""
        text = self._carry + block
        undecided = text.find(b"\n", max(len(text) - _MARKER_BYTES, 0))
        self._carry = b"" if undecided < 0 else text[undecided:]
        return self._read(text if undecided < 0 else text[:undecided])

    def close(self, problem: str | None) -> list[FlatRecord]:
        """End the file; ``problem`` says why it ended early, if it did."""
        records = self._read(self._carry)
        if self._start:
            records.append(self._take(problem or _NO_END))
        elif problem is not None:
            records.append(FlatRecord(self._lines, b"", None, problem))
        elif self._stray:
            problem = "text outside any record" if self._seen_locus else "no LOCUS line"
            records.append(self._take_stray(problem))
        return records

    def discard(self) -> None:
        """Drop the letters of a record that was not taken."""
        if self._spool is not None:
            self._spool.discard()

    def _read(self, text: bytes) -> list[FlatRecord]:
        data = np.frombuffer(text, np.uint8)
        breaks = np.flatnonzero(data == _BREAK)  # (n,)
        # A break that ends the chunk ends the file too: it is taken for the line after itself.
        firsts = data.take(breaks + 1, mode="clip")  # (n,)
        marked = np.flatnonzero(_MAY_MARK.take(firsts))
        lines = (marked + (self._lines + 1)).tolist()
        records: list[FlatRecord] = []
        position = 0
        for line, at in zip(lines, breaks.take(marked).tolist(), strict=True):
            if text.startswith(b"LOCUS", at + 1):
                self._add(text, breaks, position, at)
                if self._start:
                    records.append(self._take(_NO_END))
                elif self._stray and self._seen_locus:
                    records.append(self._take_stray("text outside any record"))
                self._stray = 0
                self._seen_locus = True
                self._skipping = False
                self._start = line
            elif text.startswith(b"//", at + 1):
                if text[at + 3 : at + 4] not in _AFTER_TERMINATOR:
                    continue
                self._add(text, breaks, position, at)
                if self._start:
                    records.append(self._take(None))
                elif self._stray:
                    records.append(self._take_stray("no LOCUS line"))
                self._skipping = True
            elif self._start and not self._in_letters and text.startswith(b"ORIGIN", at + 1):
                self._add(text, breaks, position, at)
                self._in_letters = self._skipping = True
            else:
                continue
            position = at + 1
        self._add(text, breaks, position, len(text))
        self._lines += len(breaks)
        return records

    def _add(self, text: bytes, breaks: npt.NDArray[np.int64], position: int, stop: int) -> None:
        """Take what stands between two marked lines."""
        if self._skipping:
            position = text.find(b"\n", position, stop)
            if position < 0:
                return
            self._skipping = False
        if position >= stop:
            return
        if self._in_letters:
            self._add_letters(text[position:stop].translate(None, _NOT_LETTERS))
        elif self._start:
            if self._room > 0:
                piece = text[position : min(stop, position + self._room)]
                self._head.append(piece)
                self._room -= len(piece)
        elif not self._stray and (stray := text[position:stop].lstrip()):
            self._stray = self._lines + int(np.searchsorted(breaks, stop - len(stray)))

    def _add_letters(self, letters: bytes) -> None:
        if self._spool is None:
            if not self._letters:
                self._letters = letters
                return
            self._spool = Spool(self._scratch)
            self._spool.append(self._letters)
            self._letters = b""
        self._spool.append(letters)

    def _take(self, problem: str | None) -> FlatRecord:
        letters: Letters | None = self._letters if self._in_letters else None
        if self._spool is not None:
            letters = self._spool.finish()
        record = FlatRecord(self._start, b"".join(self._head), letters, problem)
        self._start, self._in_letters, self._letters, self._spool = 0, False, b"", None
        self._head, self._room = [], self._head_bytes
        return record

    def _take_stray(self, problem: str) -> FlatRecord:
        record = FlatRecord(self._stray, b"", None, problem)
        self._stray = 0
        return record
