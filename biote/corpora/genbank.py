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

_LOCUS: Final = re.compile(
    rb"LOCUS[ \t]+(?P<name>\S.*?)[ \t]+(?P<length>\d+)[ \t]+(?P<unit>bp|aa|rc)\b(?P<rest>.*)",
    re.IGNORECASE,
)
_IDENTIFIERS: Final = (
    re.compile(rb"^VERSION[ \t]+(\S+)", re.MULTILINE),
    re.compile(rb"^ACCESSION[ \t]+(\S+)", re.MULTILINE),
    re.compile(rb"^LOCUS[ \t]+(\S+)"),
)
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
        return BadRecord(source, flat.line, record, reason, detail)

    if flat.problem is not None:
        return bad(flat.problem)
    locus_line = flat.head.partition(b"\n")[0].rstrip()
    locus = _LOCUS.match(locus_line)
    if locus is None:
        return bad("malformed LOCUS line", locus_line.decode("latin-1"))
    if locus["unit"].lower() == b"aa":
        return bad("protein record in a file of nucleic acids")
    words = locus["rest"].decode("latin-1").split()
    try:
        molecule = parse_molecule(words[0] if words else "")
    except DataError as error:
        if not words or _AFTER_TYPE.fullmatch(words[0]):
            return bad("no molecule type in LOCUS")
        return bad("unknown molecule type in LOCUS", error.what)
    if not flat.sequence:
        return bad("no sequence in the record")
    promised = int(locus["length"])
    if promised != len(flat.sequence):
        return bad(
            "sequence length differs from LOCUS",
            f"{len(flat.sequence)} letters, LOCUS says {promised}",
        )
    return Record(record, flat.sequence, molecule, source, flat.line)


def _record_id(head: bytes) -> str:
    for pattern in _IDENTIFIERS:
        if found := pattern.search(head):
            identifier = found[1].decode("utf-8", "replace")
            if identifier not in _NO_IDENTIFIER:
                return identifier
    return ""
