"""Molecule types, their alphabets, and the canonical spelling of a sequence.

Source: paper, Methods (GenBank molecule types); alphabets by IUPAC-IUB and UniProt.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from biote.errors import DataError


class Modality(StrEnum):
    """The two alphabets a sequence can be written in."""

    NUCLEIC = "nucleic"
    PROTEIN = "protein"


class Molecule(StrEnum):
    """Molecule types of the pre-training data, spelt as GenBank spells them."""

    DNA = "DNA"
    MRNA = "mRNA"
    RNA = "RNA"
    RRNA = "rRNA"
    TRNA = "tRNA"
    CRNA = "cRNA"
    SS_RNA = "ss-RNA"
    SS_DNA = "ss-DNA"
    DS_MRNA = "ds-mRNA"
    DS_RRNA = "ds-rRNA"
    DS_RNA = "ds-RNA"
    MS_DNA = "ms-DNA"
    MS_RNA = "ms-RNA"
    DS_CRNA = "ds-cRNA"
    PROTEIN = "protein"

    @property
    def modality(self) -> Modality:
        """The alphabet this molecule is written in."""
        return Modality.PROTEIN if self is Molecule.PROTEIN else Modality.NUCLEIC

    @property
    def tag(self) -> str:
        """The token that opens a sequence of this type."""
        return f"<{self.value}>"

    @property
    def code(self) -> int:
        """Position in the list of types: the integer stored in batches."""
        return MOLECULES.index(self)


MOLECULES: Final[tuple[Molecule, ...]] = tuple(Molecule)
NUCLEIC_MOLECULES: Final[tuple[Molecule, ...]] = tuple(
    molecule for molecule in MOLECULES if molecule.modality is Modality.NUCLEIC
)

NUCLEOTIDES: Final = "ATCGN"
"""Canonical nucleotides, in the order of the published character vocabulary."""

RESIDUES: Final = "ARNDCQEGHILKMFPSTWYVBZXUO"
"""Canonical residues, in the order of the published character vocabulary."""

STANDARD_RESIDUES: Final = "ARNDCQEGHILKMFPSTWYV"

AMBIGUOUS_NUCLEOTIDES: Final = "RYSWKMBDHV"
AMBIGUOUS_RESIDUES: Final = "J"

_TYPES_BY_LOWER_CASE: Final = {molecule.value.lower(): molecule for molecule in MOLECULES} | {
    # GenBank files of genome-editing tools write it; every DNA record is double-stranded
    # unless it says otherwise, so it carries no information of its own.
    "ds-dna": Molecule.DNA,
}


def parse_molecule(text: str) -> Molecule:
    """Read a molecule type in any case; ds-DNA is DNA.

    Args:
        text: Molecule type as a LOCUS line or a user writes it.

    Raises:
        DataError: If the type is not one of the pre-training types.
    """
    molecule = _TYPES_BY_LOWER_CASE.get(text.strip().lower())
    if molecule is None:
        raise DataError(
            f"unknown molecule type {text.strip()!r}",
            mend=f"known types: {', '.join(molecule.value for molecule in MOLECULES)}",
        )
    return molecule


def _translation(modality: Modality, *, fold_ambiguous: bool) -> bytes:
    """Build the byte table of `canonical_bytes`; 0 marks a letter outside the alphabet."""
    table = bytearray(256)
    if modality is Modality.NUCLEIC:
        spelling = {letter: letter for letter in NUCLEOTIDES} | {"U": "T"}
        ambiguous = {x: "N" if fold_ambiguous else x for x in AMBIGUOUS_NUCLEOTIDES}
    else:
        spelling = {letter: letter for letter in RESIDUES}
        ambiguous = {x: "X" if fold_ambiguous else x for x in AMBIGUOUS_RESIDUES}
    for letter, canonical in (spelling | ambiguous).items():
        table[ord(letter)] = table[ord(letter.lower())] = ord(canonical)
    return bytes(table)


_TRANSLATIONS: Final = {
    (modality, fold): _translation(modality, fold_ambiguous=fold)
    for modality in Modality
    for fold in (True, False)
}


def canonical_bytes(
    sequence: bytes,
    modality: Modality,
    *,
    record: str = "sequence",
    fold_ambiguous: bool = True,
    first: int = 1,
) -> bytes:
    """Spell a sequence canonically, every letter keeping its place.

    Lower case becomes upper case, U becomes T in nucleic acids, other IUPAC nucleotide codes
    become N, J becomes X, and one trailing ``*`` of a protein (its stop codon) is dropped.

    Args:
        sequence: ASCII letters.
        modality: Alphabet of the sequence.
        record: Record id for the error message.
        fold_ambiguous: Whether ambiguity codes become N and X; without it they stay, as the
            released models' tokenisers saw them.
        first: Position of the first letter in its record, for the error message.

    Raises:
        DataError: On a character outside the alphabet, naming record and position (from 1).
    """
    if modality is Modality.PROTEIN and sequence.endswith(b"*"):
        sequence = sequence[:-1]
    canonical = sequence.translate(_TRANSLATIONS[modality, fold_ambiguous])
    position = canonical.find(0)
    if position >= 0:
        letter = sequence[position : position + 1].decode("latin-1")
        kind = "gap" if letter in "-." else "character"
        raise DataError(
            f"{kind} {letter!r} at position {first + position} is not in the {modality} alphabet",
            where=record,
            mend="remove or replace it in the source file",
        )
    return canonical


def canonical_sequence(sequence: str, molecule: Molecule, *, record: str = "sequence") -> str:
    """Spell a sequence canonically; see `canonical_bytes`.

    Args:
        sequence: Letters in any case.
        molecule: Molecule type, which decides the alphabet.
        record: Record id for the error message.

    Raises:
        DataError: On a character outside the alphabet.
    """
    return canonical_bytes(
        ascii_letters(sequence, record=record), molecule.modality, record=record
    ).decode("ascii")


def ascii_letters(sequence: str, *, record: str = "sequence") -> bytes:
    """Encode a sequence as ASCII.

    Args:
        sequence: Letters.
        record: Record id for the error message.

    Raises:
        DataError: On a character outside ASCII, naming record and position (from 1).
    """
    try:
        return sequence.encode("ascii")
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {sequence[error.start]!r} at position {error.start + 1} is not a letter "
            "of any sequence alphabet",
            where=record,
            mend="remove or replace it in the source file",
        ) from error


_COMPLEMENT: Final = str.maketrans("ATCGN", "TAGCN")


def reverse_complement(sequence: str) -> str:
    """The opposite strand of a canonical DNA sequence, read 5' to 3'."""
    return sequence.translate(_COMPLEMENT)[::-1]
