from __future__ import annotations

import random
from pathlib import Path

import pytest

from biote.corpora.records import BadRecord, Record
from biote.corpora.units import BLOCK_BASES, LONG_RECORD_BASES, make_units
from biote.molecules import Molecule
from biote.splits import sequence_digest
from biote.tokenization import BPE_PIECE_CHARACTERS, BPETokenizer, CharacterTokenizer, Tokenizer

LETTERS = random.Random(0).choices("ACGT", k=LONG_RECORD_BASES + 1)


def record(sequence: str | bytes, molecule: Molecule = Molecule.DNA) -> Record:
    letters = sequence.encode() if isinstance(sequence, str) else sequence
    return Record("r", letters, molecule, "x.fa", 7)


def test_a_record_is_one_unit() -> None:
    units = make_units(record("acgun"), CharacterTokenizer())
    assert isinstance(units, list)
    (unit,) = units
    assert CharacterTokenizer().decode(unit.tokens, Molecule.DNA) == "ACGTN"
    assert (unit.start, unit.residues, unit.ends_record) == (0, 5, True)
    assert unit.digest == sequence_digest(b"ACGTN")


@pytest.mark.parametrize("length", [LONG_RECORD_BASES, LONG_RECORD_BASES + 1])
def test_nucleic_records_over_a_megabase_are_cut_into_blocks(length: int) -> None:
    tokenizer = CharacterTokenizer()
    sequence = "".join(LETTERS[:length])
    units = make_units(record(sequence), tokenizer)
    assert isinstance(units, list)
    assert [unit.residues for unit in units] == (
        [LONG_RECORD_BASES] if length == LONG_RECORD_BASES else [BLOCK_BASES] * 10 + [1]
    )
    assert [unit.start for unit in units] == [i * BLOCK_BASES for i in range(len(units))]
    assert [unit.ends_record for unit in units] == [False] * (len(units) - 1) + [True]
    assert "".join(tokenizer.decode(u.tokens, Molecule.DNA) for u in units) == sequence
    for unit in units:
        block = sequence[unit.start : unit.start + unit.residues]
        assert unit.digest == sequence_digest(block.encode())


def test_a_long_protein_stays_whole() -> None:
    units = make_units(
        record("MK" * LONG_RECORD_BASES + "*", Molecule.PROTEIN), CharacterTokenizer()
    )
    assert isinstance(units, list)
    assert [unit.residues for unit in units] == [2 * LONG_RECORD_BASES]


@pytest.mark.parametrize(
    ("sequence", "molecule", "reason", "detail"),
    [
        ("ACG-T", Molecule.DNA, "character outside the alphabet", "position 4"),
        ("ACGE", Molecule.DNA, "character outside the alphabet", "'E' at position 4"),
        ("MK*L", Molecule.PROTEIN, "character outside the alphabet", "position 3"),
        (b"MK\xc3\xa9", Molecule.PROTEIN, "character outside the alphabet", "position 3"),
        ("*", Molecule.PROTEIN, "no sequence in the record", "stop"),
        (b"M" * 10_000_001, Molecule.PROTEIN, "too long for a protein", "10000001"),
    ],
)
def test_what_cannot_be_used_is_a_ledger_line(
    sequence: str | bytes, molecule: Molecule, reason: str, detail: str
) -> None:
    bad = make_units(record(sequence, molecule), CharacterTokenizer())
    assert isinstance(bad, BadRecord)
    assert (bad.source, bad.line, bad.record, bad.reason) == ("x.fa", 7, "r", reason)
    assert detail in bad.detail


def test_the_digest_does_not_depend_on_the_tokenizer() -> None:
    text = record("ACGRYK")
    for mode in ("canonical", "released"):
        units = make_units(text, CharacterTokenizer(mode))
        assert isinstance(units, list)
        assert units[0].digest == sequence_digest(b"ACGNNN")


def test_bpe_records_over_one_piece_keep_every_base(real_data: Path) -> None:
    tokenizer: Tokenizer = BPETokenizer(
        real_data / "tokenizers/nucleotide_bpe.model", real_data / "tokenizers/peptide_bpe.model"
    )
    length = BPE_PIECE_CHARACTERS * 2 + 100
    sequence = "".join(LETTERS[:length])
    units = make_units(record(sequence.lower()), tokenizer)
    assert isinstance(units, list)
    (unit,) = units
    assert unit.residues == length
    assert unit.tokens.dtype == tokenizer.dtype
    assert len(unit.tokens) < length / 2
    assert tokenizer.decode(unit.tokens, Molecule.DNA) == sequence
    spans = tokenizer.encode(sequence, Molecule.DNA).spans
    assert spans[-1, 1] == length
    assert len(spans) == len(unit.tokens)
