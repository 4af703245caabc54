"""Does a coding sequence give the protein that its record states?

N = nucleotides of the coding sequence, C = its whole codons.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.corpora.genes.genetic_codes import BASES, CODONS, GENETIC_CODES, STOP, GeneticCode
from biote.corpora.genes.reasons import Reason, Skip

_UNKNOWN: Final = 64  # in place of a base outside TCAG: with one, a codon's number is past all
_PLACES: Final = np.array([16, 4, 1], np.uint16)
_BASE_NUMBERS: Final = np.full(256, _UNKNOWN, np.uint16)
_BASE_NUMBERS[list(BASES.encode())] = range(4)

_BASES_OF_LETTER: Final = {letter: letter for letter in BASES} | {
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
_RESIDUE_SETS: Final = {
    frozenset("DN"): "B",
    frozenset("EQ"): "Z",
    frozenset("IL"): "J",
}
# Residues that are coded by stop codons and have a letter nothing else has.
_READ_THROUGH: Final = {("TGA", "U"), ("TAG", "O")}


def translate(coding: bytes, code: GeneticCode) -> bytes:
    """Translate every whole codon, start and stop codons like any other.

    Args:
        coding: Upper-case DNA letters, ambiguity codes included, (N,).
        code: Genetic code.

    Returns:
        Residues, (C,); ``*`` for a stop, X, B, Z or J where the codon is ambiguous.
    """
    codons = len(coding) // 3
    bases = _BASE_NUMBERS[np.frombuffer(coding, np.uint8, 3 * codons)]
    residues = bytearray(_residue_table(code)[bases.reshape(codons, 3) @ _PLACES].tobytes())
    at = residues.find(0)
    while at >= 0:
        residues[at] = ord(_ambiguous(coding[3 * at : 3 * at + 3].decode("latin-1"), code))
        at = residues.find(0, at)
    return bytes(residues)


def check_translation(
    coding: bytes, protein: bytes, *, table: int, exceptions: Mapping[int, str]
) -> Skip | None:
    """Compare the protein of a record with its coding sequence.

    The first residue may be M where the first codon is a start codon of the genetic code. The
    stop codon may be missing, or its last bases, where an exception makes them one. U at TGA and
    O at TAG fit without an exception, and X fits any ambiguous codon.

    Args:
        coding: Upper-case DNA letters from the first base of the start codon, (N,).
        protein: Upper-case residues.
        table: Number of the genetic code.
        exceptions: Residue by number of its codon, from 0, where the record sets the genetic
            code aside; ``*`` for a stop, X for a residue that has no letter.

    Returns:
        Nothing where they agree, otherwise the reason.
    """
    code = GENETIC_CODES.get(table)
    if code is None:
        return Skip(Reason.UNKNOWN_CODE, f"translation table {table}")
    residues = bytearray(translate(coding, code))
    codons, rest = divmod(len(coding), 3)
    for at, residue in exceptions.items():
        if at < codons:
            residues[at] = ord(residue)
        elif at == codons and rest and residue == STOP:
            residues += STOP.encode()
            rest = 0
    last = coding[3 * codons - 3 : 3 * codons].decode("latin-1")
    if len(residues) == len(protein) + 1 and (residues.endswith(b"*") or last in code.stops):
        del residues[-1:]
    if rest or len(residues) != len(protein):
        return Skip(
            Reason.LENGTH,
            f"{len(coding)} coding bases, {len(protein)} residues in the translation",
        )
    if protein.startswith(b"M") and coding[:3].decode("latin-1") in code.starts:
        residues[:1] = b"M"
    if residues == protein:
        return None
    different = [
        int(at)
        for at in np.flatnonzero(_numbers(bytes(residues)) != _numbers(protein))
        if not _fits(coding[3 * at : 3 * at + 3].decode("latin-1"), chr(protein[at]))
    ]
    if not different:
        return None
    agreeing = len(protein) - len(different)
    first = different[0]
    return Skip(
        Reason.DIFFERENT,
        f"{agreeing} of {len(protein)} residues agree; residue {first + 1} is "
        f"{chr(protein[first])!r}, its codon gives {chr(residues[first])!r}",
    )


def _fits(codon: str, residue: str) -> bool:
    """Whether a residue other than the codon's own is no contradiction."""
    ambiguous = not set(codon) <= set(BASES)
    return (codon, residue) in _READ_THROUGH or (ambiguous and residue == "X")


@lru_cache
def _residue_table(code: GeneticCode) -> npt.NDArray[np.uint8]:
    """Residue of every codon by number, 0 for an ambiguous one."""
    return _numbers(code.residues.encode().ljust(_UNKNOWN * int(_PLACES.sum()) + 1, b"\0"))


@lru_cache(maxsize=1 << 14)
def _ambiguous(codon: str, code: GeneticCode) -> str:
    choices = [_BASES_OF_LETTER.get(letter) for letter in codon]
    residues = frozenset(
        code.residues[CODONS.index("".join(bases))]
        for bases in product(*(choice or "" for choice in choices))
    )
    if len(residues) == 1:
        return next(iter(residues))
    return _RESIDUE_SETS.get(residues, "X")


def _numbers(letters: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(letters, np.uint8)
