"""Records to units: the pieces of sequence that are tokenised, hashed and split as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from biote.corpora.records import BadRecord, Record
from biote.corpora.writer import Unit
from biote.errors import DataError
from biote.molecules import Modality, canonical_bytes
from biote.splits import sequence_digest
from biote.tokenization import Tokenizer

LONG_RECORD_BASES: Final = 1_000_000
"""Nucleic records over this length are cut into blocks."""

BLOCK_BASES: Final = 100_000

LONGEST_PROTEIN_RESIDUES: Final = 10_000_000
"""More than a hundred times the longest protein known; a window index could not number the
windows of a longer one at every context."""


def make_units(record: Record, tokenizer: Tokenizer) -> list[Unit] | BadRecord:
    """Cut a record into units, all of them or, if it cannot be used, a ledger line.

    The digest is taken of the canonical spelling, the same under every tokenizer.

    Args:
        record: Record as read.
        tokenizer: Tokenizer of the corpus.
    """
    modality = record.molecule.modality
    try:
        canonical = canonical_bytes(record.sequence, modality, record=record.id)
    except DataError as error:
        return _bad(record, "character outside the alphabet", error.what)
    if not canonical:
        return _bad(record, "no sequence in the record", "nothing but a stop")
    if modality is Modality.PROTEIN and len(canonical) > LONGEST_PROTEIN_RESIDUES:
        return _bad(
            record,
            "too long for a protein",
            f"{len(canonical)} residues, at most {LONGEST_PROTEIN_RESIDUES}; is it nucleic?",
        )
    return [
        Unit(
            record=record.id,
            molecule=record.molecule,
            tokens=tokenizer.encode_ids(
                record.sequence[start:stop], record.molecule, record=record.id
            ),
            start=start,
            residues=stop - start,
            ends_record=stop == len(canonical),
            digest=sequence_digest(canonical[start:stop]),
        )
        for start, stop in _cuts(len(canonical), modality)
    ]


def _cuts(length: int, modality: Modality) -> Iterator[tuple[int, int]]:
    if modality is Modality.PROTEIN or length <= LONG_RECORD_BASES:
        yield 0, length
        return
    for start in range(0, length, BLOCK_BASES):
        yield start, min(start + BLOCK_BASES, length)


def _bad(record: Record, reason: str, detail: str) -> BadRecord:
    return BadRecord(record.source, record.line, record.id, reason, detail)
