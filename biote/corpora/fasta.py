"""FASTA, plain or gzip, streamed: a file is cut into blocks of records, and blocks are read.

Cutting needs no more than finding where a record begins, so that one process cuts a file as fast
as it can be decompressed and others read the blocks.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biote.corpora.blocks import DamagedInputError, OnBlock, read_blocks
from biote.corpora.records import BadRecord, Record
from biote.corpora.spool import Spool
from biote.molecules import Molecule

BLOCK_BYTES: Final = 1 << 25
"""Text of a block: large enough for a shard of its own, small enough that a block for every
process fits into memory."""

_READ_BYTES: Final = 1 << 22  # of a block that is read where it is cut
_WHITE_SPACE: Final = b" \t\r\n\v\f"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PIECE_BYTES: Final = 1 << 20  # of a sequence on disk, read at once


@dataclass(frozen=True, slots=True)
class FastaBlock:
    """Whole records of a FASTA file."""

    ordinal: int
    """Number of the block in its file, from 0."""
    text: bytes | Path
    """Text from one ``>`` to another; a file that holds it, where a record is too long for
    memory. The first block may begin with text before the first record."""
    line: int
    """Line of the file that the text begins on, from 1."""
    offset: int
    """Byte of the decompressed file that the text begins on."""
    problem: str | None
    """Why the file ended early, in the last block of a damaged one: its last record is not
    whole."""

    def discard(self) -> None:
        """Remove the file of a block that needs one."""
        if isinstance(self.text, Path):
            self.text.unlink(missing_ok=True)


def cut_blocks(
    path: Path,
    *,
    block_bytes: int = BLOCK_BYTES,
    scratch: Path | None = None,
    on_block: OnBlock | None = None,
) -> Iterator[FastaBlock]:
    """Cut a FASTA file into blocks of whole records, whose texts end to end are the file.

    A block ends before the first record that begins ``block_bytes`` or more after it, so blocks
    do not depend on how the file is read. An empty file has none.

    Args:
        path: FASTA file, plain or gzip.
        block_bytes: Least text of a block that is not the last.
        scratch: Folder for text that does not fit into memory; None for the system's own.
        on_block: Told every block of the file as it lies on disk.
    """
    cutter = _Cutter(block_bytes, scratch)
    problem: str | None = None
    try:
        try:
            for data in read_blocks(path, on_block=on_block):
                yield from cutter.feed(data)
        except DamagedInputError as damage:
            problem = damage.what
        yield from cutter.close(problem)
    finally:
        cutter.discard()


def read_block(
    block: FastaBlock, molecule: Molecule, *, source: str, scratch: Path | None = None
) -> Iterator[Record | BadRecord]:
    """Yield the records of a block in order.

    The id is the first word of the header. Windows line ends, blank lines and white space in
    sequences are tolerated. What cannot be read is a ledger line and costs no other record.

    Args:
        block: Block of a FASTA file.
        molecule: Molecule type of every record: FASTA does not say.
        source: Name of the file.
        scratch: Folder for a sequence that does not fit into memory; None for the system's own.
    """
    if isinstance(block.text, Path):
        with block.text.open("rb") as stream:
            text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        yield from _read_mapped(text, block, molecule, source, scratch)
        return
    yield from _read_text(block.text, block, molecule, source)


def read_fasta(
    path: Path,
    molecule: Molecule,
    *,
    scratch: Path | None = None,
    on_block: OnBlock | None = None,
) -> Iterator[Record | BadRecord]:
    """Yield the records of a FASTA file in order; see `read_block`.

    Args:
        path: FASTA file, plain or gzip.
        molecule: Molecule type of every record: FASTA does not say.
        scratch: Folder for what does not fit into memory; None for the system's own.
        on_block: Told every block of the file as it lies on disk.
    """
    for block in cut_blocks(path, block_bytes=_READ_BYTES, scratch=scratch, on_block=on_block):
        try:
            yield from read_block(block, molecule, source=str(path), scratch=scratch)
        finally:
            block.discard()


class _Cutter:
    """The block being gathered, between one piece of the file and the next."""

    def __init__(self, block_bytes: int, scratch: Path | None) -> None:
        self._block_bytes = block_bytes
        self._scratch = scratch
        self._spool = Spool(scratch, named=True)
        self._ordinal = 0
        self._line = 1
        self._offset = 0
        self._lines = 0  # line breaks in the block so far
        self._after_break = True  # whether the last byte was a line break

    def feed(self, data: bytes) -> Iterator[FastaBlock]:
        """Take what follows; yields the blocks that end in it."""
        position = 0
        while position < len(data):
            cut = self._find_end(data, position)
            end = len(data) if cut is None else cut
            self._take(data[position:end])
            position = end
            if cut is not None:
                yield self._finish(None)

    def close(self, problem: str | None) -> Iterator[FastaBlock]:
        """End the file; ``problem`` says why it ended early, if it did."""
        if len(self._spool) or problem is not None:
            yield self._finish(problem)

    def discard(self) -> None:
        """Drop a block that was not yielded."""
        self._spool.discard()

    def _find_end(self, data: bytes, position: int) -> int | None:
        """Where in ``data`` the block ends, if it does: at a ``>`` that begins a line."""
        first = position + max(self._block_bytes - len(self._spool), 1 - len(self._spool), 0)
        if first >= len(data):
            return None
        if first == position and self._after_break and data[first : first + 1] == b">":
            return first
        found = data.find(b"\n>", max(first - 1, position))
        return None if found < 0 else found + 1

    def _take(self, data: bytes) -> None:
        if data:
            self._spool.append(data)
            self._lines += data.count(b"\n")
            self._after_break = data.endswith(b"\n")

    def _finish(self, problem: str | None) -> FastaBlock:
        size = len(self._spool)
        block = FastaBlock(
            self._ordinal, self._spool.finish_text(), self._line, self._offset, problem
        )
        self._ordinal += 1
        self._offset += size
        self._line += self._lines
        self._lines = 0
        self._spool = Spool(self._scratch, named=True)
        return block


def _read_text(
    text: bytes, block: FastaBlock, molecule: Molecule, source: str
) -> Iterator[Record | BadRecord]:
    start = len(_BYTE_ORDER_MARK) if block.offset == 0 and text[:3] == _BYTE_ORDER_MARK else 0
    line = block.line
    if text[start : start + 1] != b">":
        stop = text.find(b"\n>", start) + 1 or len(text)
        before = text[start:stop]
        if before.strip():
            yield BadRecord(source, 1, "", "text before the first record")
        line += before.count(b"\n")
        start = stop
    damaged = b""
    if block.problem is not None:
        at = text.rfind(b"\n>", start) + 1 or start
        text, damaged = text[:at], text[at:]
    new = tuple.__new__  # what Record(...) calls in the end, without a Python frame of its own
    for parts in _split(text, start):
        for part in parts:
            header, _, body = part.partition(b"\n")
            words = header.split(None, 1)
            sequence = body.translate(None, _WHITE_SPACE)
            if words and sequence:
                record = words[0].decode("utf-8", "replace")
                yield new(Record, (record, sequence, molecule, source, line))
            else:
                yield _without(words[0] if words else b"", source, line)
            line += part.count(b"\n")
    if block.problem is not None:
        header, whole, _ = damaged[1:].partition(b"\n")
        yield BadRecord(source, line, _record_id(header) if whole else "", block.problem)


def _split(text: bytes, start: int) -> Iterator[list[bytes]]:
    """Cut text at every ``>`` that begins a line, a piece that a processor's cache holds at once.

    Every part but the last ends with its line break.
    """
    while start < len(text):
        stop = len(text)
        if stop - start > _PIECE_BYTES:
            stop = text.rfind(b"\n>", start, start + _PIECE_BYTES) + 1
            stop = stop or text.find(b"\n>", start + _PIECE_BYTES - 1) + 1 or len(text)
        piece = text[start + 1 : stop]
        # One byte is found several times faster than two, and few headers have a ">" inside.
        parts = piece.split(b">")
        if not all(map(bytes.endswith, parts[:-1], itertools.repeat(b"\n"))):
            parts = piece.split(b"\n>")
            parts[:-1] = [part + b"\n" for part in parts[:-1]]
        yield parts
        start = stop


def _read_mapped(
    text: mmap.mmap, block: FastaBlock, molecule: Molecule, source: str, scratch: Path | None
) -> Iterator[Record | BadRecord]:
    """Read text that lies on disk, record by record and long ones piece by piece."""
    start = len(_BYTE_ORDER_MARK) if block.offset == 0 and text[:3] == _BYTE_ORDER_MARK else 0
    line = block.line
    if text[start : start + 1] != b">":
        first = text.find(b"\n>", start)
        stop = len(text) if first < 0 else first + 1
        if any(piece.strip() for piece in _pieces(text, start, stop)):
            yield BadRecord(source, 1, "", "text before the first record")
        line += sum(piece.count(b"\n") for piece in _pieces(text, start, stop))
        start = stop
    while start < len(text):
        found = text.find(b"\n>", start)
        stop = len(text) if found < 0 else found + 1
        end = text.find(b"\n", start, stop)
        header = text[start + 1 : min(stop if end < 0 else end, start + 1 + _PIECE_BYTES)]
        record = _record_id(header)
        if stop == len(text) and block.problem is not None:
            yield BadRecord(source, line, record if end >= 0 else "", block.problem)
            return
        letters = Spool(scratch)
        breaks = 0
        for piece in _pieces(text, stop if end < 0 else end, stop):
            breaks += piece.count(b"\n")
            if record:
                letters.append(piece.translate(None, _WHITE_SPACE))
        if record and len(letters):
            yield Record(record, letters.finish(), molecule, source, line)
        else:
            yield _without(record.encode(), source, line)
        line += breaks
        start = stop
    if block.problem is not None:
        yield BadRecord(source, line, "", block.problem)


def _pieces(text: mmap.mmap, start: int, stop: int) -> Iterator[bytes]:
    for begin in range(start, stop, _PIECE_BYTES):
        yield text[begin : min(begin + _PIECE_BYTES, stop)]


def _without(record: bytes, source: str, line: int) -> BadRecord:
    if not record:
        return BadRecord(source, line, "", "no record id")
    return BadRecord(source, line, record.decode("utf-8", "replace"), "no sequence in the record")


def _record_id(header: bytes) -> str:
    words = header.split(None, 1)
    return words[0].decode("utf-8", "replace") if words else ""
