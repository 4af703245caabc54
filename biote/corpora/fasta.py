"""FASTA, plain or gzip, streamed: a file is cut into blocks of records, and blocks are read.

Cutting needs no more than finding where a record begins, so that one process cuts a file as fast
as it can be decompressed and others read the blocks. Libraries that read FASTA faster hold whole
records in memory, refuse a file for its first line, and do not say where a record stands.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from biote.corpora.blocks import DamagedInputError, OnBlock, read_blocks
from biote.corpora.records import BadRecord, Record
from biote.corpora.spool import Letters, Spool
from biote.molecules import Molecule

BLOCK_BYTES: Final = 1 << 25
"""Text of a block: large enough for a shard of its own, small enough that a block for every
process fits into memory."""

_READ_BYTES: Final = 1 << 22  # of a block that is read where it is cut
_BREAK: Final = ord("\n")
_BEGIN: Final = ord(">")
_WHITE_SPACE: Final = b" \t\r\n\v\f"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PIECE_BYTES: Final = 1 << 20  # read at once
_HEADER_BYTES: Final = 1 << 20  # looked at for the id of a record that is longer than a piece
_LONGEST_ID: Final = 500  # in the ledger: what is no FASTA may have lines of any length


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
    text = _map(block.text) if isinstance(block.text, Path) else block.text
    start = len(_BYTE_ORDER_MARK) if block.offset == 0 and text[:3] == _BYTE_ORDER_MARK else 0
    line = block.line
    if text[start : start + 1] != b">":
        stop = text.find(b"\n>", start) + 1 or len(text)
        if any(piece.strip() for piece in _pieces(text, start, stop)):
            yield BadRecord(source, line, "", "text before the first record")
        line += sum(piece.count(b"\n") for piece in _pieces(text, start, stop))
        start = stop
    whole = len(text) if block.problem is None else max(text.rfind(b"\n>", start) + 1, start)
    new = tuple.__new__  # what Record(...) calls in the end, without a Python frame of its own
    while start < whole:
        stop = _find_stop(text, start, whole)
        if stop - start > _PIECE_BYTES:
            record, breaks = _read_long(text, start, stop, molecule, source, line, scratch)
            yield record
            line += breaks
        else:
            piece = text[start:stop]
            places, breaks = _find_records(piece)
            for begin, body, end, lines in places:
                words = piece[begin + 1 : body].split(None, 1)
                sequence = piece[body:end].translate(None, _WHITE_SPACE)
                if words and sequence:
                    name = words[0].decode("utf-8", "replace")
                    yield new(Record, (name, sequence, molecule, source, line + lines))
                else:
                    yield _without(_record_id(piece[begin + 1 : body]), source, line + lines)
            line += breaks
        start = stop
    if block.problem is not None:
        header, ended, _ = text[whole + 1 : whole + _HEADER_BYTES].partition(b"\n")
        name = _record_id(header)[:_LONGEST_ID] if ended else ""
        yield BadRecord(source, line, name, block.problem)


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
            self._lines += int(np.count_nonzero(np.frombuffer(data, np.uint8) == _BREAK))
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


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _find_stop(text: Letters, start: int, whole: int) -> int:
    """Where to stop reading at once: after the records that fit into a piece, or a longer one."""
    limit = start + _PIECE_BYTES
    if whole <= limit:
        return whole
    return text.rfind(b"\n>", start, limit) + 1 or text.find(b"\n>", limit - 1, whole) + 1 or whole


def _find_records(piece: bytes) -> tuple[Iterator[tuple[int, int, int, int]], int]:
    """Find the R records of a piece that begins with one.

    Returns:
        For every record where it begins, where its header ends, where it ends, and the lines
        before it; and the number of lines that end in the piece.
    """
    data = np.frombuffer(piece, np.uint8)
    breaks = np.flatnonzero(data == _BREAK)
    heads = np.flatnonzero(data.take(breaks + 1, mode="clip") == _BEGIN)  # (R - 1,)
    lines = np.concatenate(([0], heads + 1))  # (R,)
    begins = [0, *(breaks.take(heads) + 1).tolist(), len(piece)]
    bodies = np.append(breaks, len(piece)).take(lines).tolist()
    return zip(begins, bodies, begins[1:], lines.tolist(), strict=False), len(breaks)


def _read_long(
    text: Letters,
    start: int,
    stop: int,
    molecule: Molecule,
    source: str,
    line: int,
    scratch: Path | None,
) -> tuple[Record | BadRecord, int]:
    """Read one record a piece at a time; gives the number of its line breaks with it."""
    body = text.find(b"\n", start, stop)
    body = stop if body < 0 else body
    name = _record_id(text[start + 1 : min(body, start + _HEADER_BYTES)])
    letters = Spool(scratch)
    breaks = 0
    try:
        for piece in _pieces(text, body, stop):
            breaks += piece.count(b"\n")
            if name:
                letters.append(piece.translate(None, _WHITE_SPACE))
        if len(letters):
            return Record(name, letters.finish(), molecule, source, line), breaks
    finally:
        letters.discard()
    return _without(name, source, line), breaks


def _pieces(text: Letters, start: int, stop: int) -> Iterator[bytes]:
    for begin in range(start, stop, _PIECE_BYTES):
        yield text[begin : min(begin + _PIECE_BYTES, stop)]


def _without(record: str, source: str, line: int) -> BadRecord:
    reason = "no sequence in the record" if record else "no record id"
    return BadRecord(source, line, record[:_LONGEST_ID], reason)


def _record_id(header: bytes) -> str:
    words = header.split(None, 1)
    return words[0].decode("utf-8", "replace") if words else ""
