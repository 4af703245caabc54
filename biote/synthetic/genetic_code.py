"""The standard genetic code, and proteins written in a species' favourite codons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

START_CODON: Final = "ATG"
STOP_CODONS: Final = ("TAA", "TAG", "TGA")

CODONS: Final[dict[str, tuple[str, ...]]] = {
    "A": ("GCA", "GCC", "GCG", "GCT"),
    "C": ("TGC", "TGT"),
    "D": ("GAC", "GAT"),
    "E": ("GAA", "GAG"),
    "F": ("TTC", "TTT"),
    "G": ("GGA", "GGC", "GGG", "GGT"),
    "H": ("CAC", "CAT"),
    "I": ("ATA", "ATC", "ATT"),
    "K": ("AAA", "AAG"),
    "L": ("CTA", "CTC", "CTG", "CTT", "TTA", "TTG"),
    "M": (START_CODON,),
    "N": ("AAC", "AAT"),
    "P": ("CCA", "CCC", "CCG", "CCT"),
    "Q": ("CAA", "CAG"),
    "R": ("AGA", "AGG", "CGA", "CGC", "CGG", "CGT"),
    "S": ("AGC", "AGT", "TCA", "TCC", "TCG", "TCT"),
    "T": ("ACA", "ACC", "ACG", "ACT"),
    "V": ("GTA", "GTC", "GTG", "GTT"),
    "W": ("TGG",),
    "Y": ("TAC", "TAT"),
}
"""Codons of every residue; the three that are missing are `STOP_CODONS`."""

_RESIDUE_OF: Final = {codon: residue for residue, codons in CODONS.items() for codon in codons}

CodonUsage = Mapping[str, npt.NDArray[np.float64]]
"""Probability of each of a residue's codons, in the order of `CODONS`."""


def draw_codon_usage(
    rng: np.random.Generator, *, concentration: float = 0.4, relative: CodonUsage | None = None
) -> CodonUsage:
    """Draw how often a species uses each synonymous codon.

    Args:
        rng: Source of randomness.
        concentration: Of the Dirichlet distribution; small values favour one codon strongly.
        relative: Codon usage that the drawn one resembles, if any.
    """
    drawn = {
        residue: rng.dirichlet(np.full(len(codons), concentration))
        for residue, codons in CODONS.items()
    }
    if relative is None:
        return drawn
    return {residue: 0.3 * drawn[residue] + 0.7 * relative[residue] for residue in CODONS}


def encode_protein(protein: str, usage: CodonUsage, *, rng: np.random.Generator) -> str:
    """Write a protein as a coding sequence that ends in a stop codon.

    Args:
        protein: Residues, of the 20 standard ones, the first M.
        usage: Codon usage of the species.
        rng: Source of randomness.
    """
    assert protein.startswith("M"), "a coding sequence starts with ATG"
    letters = np.array(list(protein))
    codons = np.empty(len(letters), dtype="U3")
    for residue in np.unique(letters):
        at = np.flatnonzero(letters == residue)
        codons[at] = rng.choice(CODONS[str(residue)], size=len(at), p=usage[str(residue)])
    return "".join(codons) + STOP_CODONS[int(rng.integers(len(STOP_CODONS)))]


def translate(coding: str) -> str:
    """Translate a coding sequence up to its first stop codon.

    Args:
        coding: Canonical nucleotides without N, read from the first.

    Raises:
        ValueError: If it ends inside a codon, or before a stop codon.
    """
    residues: list[str] = []
    for start in range(0, len(coding), 3):
        codon = coding[start : start + 3]
        if codon in STOP_CODONS:
            return "".join(residues)
        if codon not in _RESIDUE_OF:
            raise ValueError(f"{codon!r} at nucleotide {start + 1} is no codon")
        residues.append(_RESIDUE_OF[codon])
    raise ValueError(f"no stop codon in {len(coding)} nucleotides")
