"""Records to units: the pieces of sequence that are tokenised, hashed and split as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from biote.corpora.records import BadRecord, Record
from biote.errors import DataError
from biote.molecules import MOLECULES, Modality, Molecule, canonical_bytes
from biote.splits import sequence_digest
from biote.tokenization import Tokenizer

LONG_RECORD_BASES: Final = 1_000_000
"""Nucleic records over this length are cut into blocks."""

BLOCK_BASES: Final = 100_000

LONGEST_PROTEIN_RESIDUES: Final = 10_000_000
"""More than a hundred times the longest protein known; a window index could not number the
windows of a longer one at every context."""

_MODALITIES: Final = {molecule: molecule.modality for molecule in MOLECULES}


class Unit(NamedTuple):
    """One row of a shard, its letters not yet tokenised."""

    record: str
    molecule: Molecule
    letters: bytes
    """As the tokenizer of the corpus spells them."""
    start: int
    """First residue of the unit in its record, from 0."""
    ends_record: bool
    digest: int


def make_units(record: Record, tokenizer: Tokenizer) -> Iterable[Unit] | BadRecord:
    """Cut a record into units, all of them or, if it cannot be used, a ledger line.

    A record whose letters lie on disk is spelled twice, once to judge it and once to cut it, so
    that no more of it than one unit is held. The digest is taken of the canonical spelling, the
    same under every tokenizer.

    Args:
        record: Record as read.
        tokenizer: Tokenizer of the corpus.
    """
    length, modality = len(record.sequence), _MODALITIES[record.molecule]
    if modality not in tokenizer.modalities:
        return _bad(
            record, "of a modality that the tokenizer does not read", f"{record.molecule} record"
        )
    if modality is Modality.PROTEIN and length > LONGEST_PROTEIN_RESIDUES:
        return _bad(
            record,
            "too long for a protein",
            f"{length} residues, at most {LONGEST_PROTEIN_RESIDUES}; is it nucleic?",
        )
    if modality is Modality.NUCLEIC and length > LONG_RECORD_BASES:
        return _long_record(record, tokenizer)
    try:
        canonical = canonical_bytes(record.sequence[:], modality, record=record.id)
    except DataError as error:
        return _bad(record, "character outside the alphabet", error.what)
    if not canonical:
        return _bad(record, "no sequence in the record", "nothing but a stop")
    return (_unit(record, tokenizer, canonical, 0, len(canonical)),)


def _long_record(record: Record, tokenizer: Tokenizer) -> Iterator[Unit] | BadRecord:
    blocks: list[bytes] = []
    for start, block in _blocks(record):
        try:
            block = _canonical_block(block, record, start)
        except DataError as error:
            return _bad(record, "character outside the alphabet", error.what)
        if isinstance(record.sequence, bytes):
            blocks.append(block)
    length = len(record.sequence)
    # The letters of a record on disk are spelled again rather than held.
    spelled = (
        ((i * BLOCK_BASES, block) for i, block in enumerate(blocks))
        if blocks
        else ((start, _canonical_block(block, record, start)) for start, block in _blocks(record))
    )
    return (_unit(record, tokenizer, block, start, length) for start, block in spelled)


def _blocks(record: Record) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(record.sequence), BLOCK_BASES):
        yield start, record.sequence[start : start + BLOCK_BASES]


def _canonical_block(block: bytes, record: Record, start: int) -> bytes:
    return canonical_bytes(block, Modality.NUCLEIC, record=record.id, first=start + 1)


def _unit(record: Record, tokenizer: Tokenizer, canonical: bytes, start: int, length: int) -> Unit:
    stop = start + len(canonical)
    letters = canonical
    if tokenizer.ambiguity != "canonical":
        letters = tokenizer.canonical(
            record.sequence[start:stop], record.molecule.modality, record=record.id
        )
    return Unit(
        record.id, record.molecule, letters, start, stop == length, sequence_digest(canonical)
    )


def _bad(record: Record, reason: str, detail: str) -> BadRecord:
    return BadRecord(record.source, record.line, record.id, reason, detail)
