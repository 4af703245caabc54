"""FASTA, plain or gzip, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biote.corpora.blocks import DamagedInputError, OnBytes, read_blocks
from biote.corpora.records import BadRecord, Record
from biote.molecules import Molecule

_WHITE_SPACE: Final = b" \t\r\n\v\f"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def read_fasta(
    path: Path, molecule: Molecule, *, on_bytes: OnBytes | None = None
) -> Iterator[Record | BadRecord]:
    """Yield the records of a FASTA file in order.

    The id is the first word of the header. Windows line ends, blank lines and white space in
    sequences are tolerated. What cannot be read is a ledger line and costs no other record.

    Args:
        path: FASTA file, plain or gzip.
        molecule: Molecule type of every record: FASTA does not say.
        on_bytes: Told how many bytes of the file were read.
    """
    source = str(path)
    # A record begins at ">" after a line break, so the text is read as if one preceded it. The
    # text of the record being read is kept in pieces: a chromosome may span many blocks.
    pieces: list[bytes] = []
    line = 0  # line that `pieces` begins on; 0 before the first record
    held = b"\n"
    first = True
    try:
        for block in read_blocks(path, on_bytes=on_bytes):
            if first and block.startswith(_BYTE_ORDER_MARK):
                block = block[len(_BYTE_ORDER_MARK) :]
            first = False
            text = held + block
            # A line break at the end may belong to a ">" at the beginning of the next block.
            held = b"\n" if text.endswith(b"\n") else b""
            if held:
                text = text[:-1]
            parts = text.split(b"\n>")
            pieces.append(parts[0])
            for part in parts[1:]:
                whole = b"".join(pieces)
                yield from _finish(whole, molecule, source, line)
                line += whole.count(b"\n") + 1
                pieces = [part]
    except DamagedInputError as damage:
        header, whole_header, _ = b"".join(pieces).partition(b"\n")
        record = _record_id(header) if line and whole_header else ""
        yield BadRecord(source, max(line, 1), record, damage.what)
        return
    yield from _finish(b"".join(pieces), molecule, source, line)


def _finish(
    text: bytes, molecule: Molecule, source: str, line: int
) -> Iterator[Record | BadRecord]:
    """Turn the text from one ``>`` to the next into a record or a ledger line."""
    if not line:
        if text.strip():
            yield BadRecord(source, 1, "", "text before the first record")
        return
    header, _, body = text.partition(b"\n")
    record = _record_id(header)
    sequence = body.translate(None, _WHITE_SPACE)
    if not record:
        yield BadRecord(source, line, "", "no record id")
    elif not sequence:
        yield BadRecord(source, line, record, "no sequence in the record")
    else:
        yield Record(record, sequence, molecule, source, line)


def _record_id(header: bytes) -> str:
    words = header.split(None, 1)
    return words[0].decode("utf-8", "replace") if words else ""
