"""GenBank flat files: every record's sequence with its molecule type.

Annotation is not parsed: a record with a fault in its feature table keeps its sequence, and the
promised length in LOCUS tells whether the sequence is whole. The LOCUS line is read word by word,
because column-bound parsers pass over lines without a date or with lower-case types in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biote.corpora.blocks import OnBlock, read_blocks
from biote.corpora.flatfile import FlatRecord, cut_records
from biote.corpora.records import BadRecord, Record
from biote.errors import DataError
from biote.molecules import parse_molecule

_UNITS: Final = {b"bp", b"aa", b"rc"}
_IDENTIFIERS: Final = (
    re.compile(rb"\nVERSION[ \t]+(\S+)"),
    re.compile(rb"\nACCESSION[ \t]+(\S+)"),
    re.compile(rb"\ALOCUS[ \t]+(\S+)"),
)
_LONGEST_DETAIL: Final = 500
_NO_IDENTIFIER: Final = {"", ".", "unknown"}
# What follows the molecule type in LOCUS: found in its place, the type is missing.
_AFTER_TYPE: Final = re.compile(r"linear|circular|[A-Z]{3}|\d{1,2}-[A-Za-z]{3}-\d{4}")


def read_genbank(
    path: Path, *, scratch: Path | None = None, on_block: OnBlock | None = None
) -> Iterator[Record | BadRecord]:
    """Yield the records of a GenBank flat file in order.

    The id is the VERSION, or the ACCESSION, or the LOCUS name. What cannot be used is a ledger
    line and costs no other record: malformed LOCUS, missing or unknown molecule type, protein
    record, no sequence, a sequence of another length than LOCUS says, no ``//``, text outside
    any record.

    Args:
        path: Flat file, plain or gzip.
        scratch: Folder for letters that do not fit into memory; None for the system's own.
        on_block: Told every block of the file as it lies on disk.
    """
    source = str(path)
    for flat in cut_records(read_blocks(path, on_block=on_block), scratch=scratch):
        yield judge_record(flat, source)


def judge_record(flat: FlatRecord, source: str) -> Record | BadRecord:
    """Turn the text of a record into a record or a ledger line.

    Args:
        flat: Record as cut from its file.
        source: Name of the file.
    """
    record = _record_id(flat.head)

    def bad(reason: str, detail: str = "") -> BadRecord:
        return BadRecord(source, flat.line, record, reason, detail[:_LONGEST_DETAIL])

    if flat.problem is not None:
        return bad(flat.problem)
    locus_line = flat.head.partition(b"\n")[0]
    words = locus_line.split()
    length = _find_length(words)
    if not length:
        return bad("malformed LOCUS line", locus_line.rstrip().decode("latin-1"))
    if words[length + 1].lower() == b"aa":
        return bad("protein record in a file of nucleic acids")
    word = words[length + 2].decode("latin-1") if len(words) > length + 2 else ""
    try:
        molecule = parse_molecule(word)
    except DataError as error:
        if not word or _AFTER_TYPE.fullmatch(word):
            return bad("no molecule type in LOCUS")
        return bad("unknown molecule type in LOCUS", error.what)
    letters = flat.sequence
    if not letters:
        return bad("no sequence in the record")
    # Compared as text: no number is too long for it.
    promised = words[length].lstrip(b"0")
    if promised != b"%d" % len(letters):
        return bad(
            "sequence length differs from LOCUS",
            f"{len(letters)} letters, LOCUS says {promised.decode() or '0'}",
        )
    return Record(record, letters, molecule, source, flat.line)


def _find_length(words: list[bytes]) -> int:
    """Which word of a LOCUS line is the length, before its unit; 0 if there is none."""
    if words[0] == b"LOCUS":
        for place in range(2, len(words) - 1):  # a name may have spaces
            if words[place].isdigit() and words[place + 1].lower() in _UNITS:
                return place
    return 0


def _record_id(head: bytes) -> str:
    for pattern in _IDENTIFIERS:
        if found := pattern.search(head):
            identifier = found[1].decode("utf-8", "replace")
            if identifier not in _NO_IDENTIFIER:
                return identifier
    return ""
