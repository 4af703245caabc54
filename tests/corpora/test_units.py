from __future__ import annotations

import random
from pathlib import Path

import pytest

from biote.corpora.records import BadRecord, Record
from biote.corpora.units import BLOCK_BASES, LONG_RECORD_BASES, Unit, make_units
from biote.molecules import Molecule
from biote.splits import sequence_digest
from biote.tokenization import BPE_PIECE_CHARACTERS, BPETokenizer, CharacterTokenizer, Tokenizer

LETTERS = random.Random(0).choices("ACGT", k=LONG_RECORD_BASES + 1)


def record(sequence: str | bytes, molecule: Molecule = Molecule.DNA) -> Record:
    letters = sequence.encode() if isinstance(sequence, str) else sequence
    return Record("r", letters, molecule, "x.fa", 7)


def cut(text: Record, tokenizer: Tokenizer) -> list[Unit]:
    units = make_units(text, tokenizer)
    assert not isinstance(units, BadRecord)
    return list(units)


def test_a_record_is_one_unit() -> None:
    units = cut(record("acgun"), CharacterTokenizer())
    (unit,) = units
    assert unit.letters == b"ACGTN"
    assert (unit.start, unit.ends_record) == (0, True)
    assert unit.digest == sequence_digest(b"ACGTN")


@pytest.mark.parametrize("length", [LONG_RECORD_BASES, LONG_RECORD_BASES + 1])
def test_nucleic_records_over_a_megabase_are_cut_into_blocks(length: int) -> None:
    tokenizer = CharacterTokenizer()
    sequence = "".join(LETTERS[:length])
    units = cut(record(sequence), tokenizer)
    assert [len(unit.letters) for unit in units] == (
        [LONG_RECORD_BASES] if length == LONG_RECORD_BASES else [BLOCK_BASES] * 10 + [1]
    )
    assert [unit.start for unit in units] == [i * BLOCK_BASES for i in range(len(units))]
    assert [unit.ends_record for unit in units] == [False] * (len(units) - 1) + [True]
    assert b"".join(unit.letters for unit in units) == sequence.encode()
    for unit in units:
        block = sequence[unit.start : unit.start + len(unit.letters)]
        assert unit.digest == sequence_digest(block.encode())


def test_a_long_protein_stays_whole() -> None:
    (unit,) = cut(record("MK" * LONG_RECORD_BASES + "*", Molecule.PROTEIN), CharacterTokenizer())
    assert len(unit.letters) == 2 * LONG_RECORD_BASES
    assert unit.ends_record


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
        units = cut(text, CharacterTokenizer(mode))
        assert units[0].digest == sequence_digest(b"ACGNNN")


def test_bpe_records_over_one_piece_keep_every_base(real_data: Path) -> None:
    tokenizer: Tokenizer = BPETokenizer(
        real_data / "tokenizers/nucleotide_bpe.model", real_data / "tokenizers/peptide_bpe.model"
    )
    length = BPE_PIECE_CHARACTERS * 2 + 100
    sequence = "".join(LETTERS[:length])
    units = cut(record(sequence.lower()), tokenizer)
    (unit,) = units
    assert unit.letters == sequence.encode()
    tokens, lengths = tokenizer.encode_spelled([unit.letters], Molecule.DNA.modality)
    assert lengths.tolist() == [len(tokens)]
    assert tokens.dtype == tokenizer.dtype
    assert len(tokens) < length / 2
    assert tokenizer.decode(tokens, Molecule.DNA) == sequence
    spans = tokenizer.encode(sequence, Molecule.DNA).spans
    assert spans[-1, 1] == length
    assert len(spans) == len(tokens)


@pytest.mark.parametrize("position", [0, BLOCK_BASES, BLOCK_BASES * 9 + 5, LONG_RECORD_BASES])
def test_a_fault_anywhere_in_a_long_record_gives_its_position(position: int) -> None:
    letters = "".join(LETTERS)
    text = record(f"{letters[:position]}-{letters[position + 1 :]}")
    bad = make_units(text, CharacterTokenizer())
    assert isinstance(bad, BadRecord)
    assert bad.detail == f"gap '-' at position {position + 1} is not in the nucleic alphabet"


def test_a_protein_loses_one_stop_and_no_more() -> None:
    (unit,) = cut(record("MK*", Molecule.PROTEIN), CharacterTokenizer())
    assert unit.letters == b"MK"
    assert isinstance(make_units(record("MK**", Molecule.PROTEIN), CharacterTokenizer()), BadRecord)


def test_the_released_mode_keeps_the_letters_that_it_reads_as_unknown() -> None:
    (unit,) = cut(record("ACGRYK"), CharacterTokenizer("released"))
    assert unit.letters == b"ACGRYK"
