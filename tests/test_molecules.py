from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.errors import DataError
from biote.molecules import (
    MOLECULES,
    Modality,
    Molecule,
    canonical_bytes,
    canonical_sequence,
    parse_molecule,
    reverse_complement,
)


@pytest.mark.parametrize("molecule", MOLECULES)
def test_every_type_is_read_in_any_case(molecule: Molecule) -> None:
    assert parse_molecule(molecule.value.upper()) is molecule
    assert parse_molecule(f" {molecule.value.lower()} ") is molecule


def test_double_stranded_dna_is_dna_and_others_are_refused() -> None:
    assert parse_molecule("ds-DNA") is Molecule.DNA
    with pytest.raises(DataError, match="unknown molecule type 'snRNA'"):
        parse_molecule("snRNA")


def test_uracil_becomes_thymine_in_nucleic_acids_only() -> None:
    assert canonical_sequence("acguU", Molecule.RNA) == "ACGTT"
    assert canonical_sequence("MUk", Molecule.PROTEIN) == "MUK"


def test_ambiguity_codes_keep_their_place() -> None:
    assert canonical_sequence("ARYSWKMBDHVNC", Molecule.DNA) == "A" + "N" * 11 + "C"
    assert canonical_sequence("MJBZXUOK", Molecule.PROTEIN) == "MXBZXUOK"


def test_released_mode_leaves_ambiguity_codes() -> None:
    assert canonical_bytes(b"ARyC", Modality.NUCLEIC, fold_ambiguous=False) == b"ARYC"


def test_trailing_stop_is_dropped_and_inner_one_refused() -> None:
    assert canonical_sequence("MK*", Molecule.PROTEIN) == "MK"
    with pytest.raises(DataError, match=r"rec1: character '\*' at position 2"):
        canonical_sequence("M*K", Molecule.PROTEIN, record="rec1")


@pytest.mark.parametrize(("sequence", "position"), [("ACG-T", 4), ("ACGTé", 5), ("1ACGT", 1)])
def test_a_foreign_character_is_named_with_its_position(sequence: str, position: int) -> None:
    with pytest.raises(DataError, match=f"rec1: .* at position {position}"):
        canonical_sequence(sequence, Molecule.DNA, record="rec1")


@given(st.text(alphabet="ATCGN"))
def test_reverse_complement_is_its_own_inverse(sequence: str) -> None:
    assert reverse_complement(reverse_complement(sequence)) == sequence


@given(st.text(alphabet="acgtunRYSWKMBDHVACGTU"))
def test_canonical_spelling_is_idempotent_and_keeps_the_length(sequence: str) -> None:
    once = canonical_sequence(sequence, Molecule.DNA)
    assert len(once) == len(sequence)
    assert canonical_sequence(once, Molecule.DNA) == once
