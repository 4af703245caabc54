"""Which nucleic acid a synthetic protein binds, and how tightly, by a code of eight residues.

A binding protein holds a domain with eight recognition residues. Each prefers one base, so the
protein's own sequence spells the position weight matrix of its site, and what is learnt on some
proteins holds for others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

BASES: Final = "ACGT"
SITE_LENGTH: Final = 8

_BEFORE: Final = "HWCPVCGK"
_AFTER: Final = "HRKTHFGE"

# Penalty in kcal/mol of A, C, G, T opposite each recognition residue.
_CODE: Final = {
    "N": (0.0, 1.2, 0.8, 1.2),
    "Q": (0.0, 0.8, 0.5, 0.8),
    "D": (1.2, 0.0, 1.2, 0.8),
    "E": (0.8, 0.0, 0.8, 0.5),
    "R": (0.8, 1.2, 0.0, 1.2),
    "K": (0.5, 0.8, 0.0, 0.8),
    "T": (1.2, 0.8, 1.2, 0.0),
    "S": (0.8, 0.5, 0.8, 0.0),
}
RECOGNITION_RESIDUES: Final = "".join(_CODE)
_DOMAIN: Final = re.compile(f"{_BEFORE}([{RECOGNITION_RESIDUES}]{{{SITE_LENGTH}}}){_AFTER}")

_UNSPECIFIC_KCAL_MOL: Final = -9.5
_BASIC_RESIDUE_KCAL_MOL: Final = -0.5


def draw_recognition_residues(rng: np.random.Generator) -> str:
    """Draw eight recognition residues.

    Args:
        rng: Source of randomness.
    """
    return "".join(rng.choice(list(RECOGNITION_RESIDUES), SITE_LENGTH))


def with_domain(protein: str, recognition_residues: str, *, rng: np.random.Generator) -> str:
    """Insert the binding domain at a random place behind the first residue.

    Args:
        protein: Protein without the domain.
        recognition_residues: The eight residues that decide the site.
        rng: Source of randomness.
    """
    place = int(rng.integers(1, len(protein) + 1))
    return protein[:place] + _BEFORE + recognition_residues + _AFTER + protein[place:]


def find_recognition_residues(protein: str) -> str:
    """Read the eight recognition residues from a protein.

    Args:
        protein: Protein with a binding domain.

    Raises:
        ValueError: If there is no binding domain.
    """
    found = _DOMAIN.search(protein)
    if found is None:
        raise ValueError("the protein holds no binding domain")
    return found[1]


def penalties(recognition_residues: str) -> npt.NDArray[np.float64]:
    """Position weight matrix of a protein's site, as energies.

    Args:
        recognition_residues: The eight residues.

    Returns:
        Penalty of each base (A, C, G, T) at each position in kcal/mol, (8, 4); 0 for the best.
    """
    return np.array([_CODE[residue] for residue in recognition_residues])


def best_site(recognition_residues: str) -> str:
    """Site without any penalty.

    Args:
        recognition_residues: The eight residues.
    """
    return "".join(BASES[i] for i in penalties(recognition_residues).argmin(axis=1))


def site_penalty(recognition_residues: str, strands: Sequence[str]) -> float:
    """Penalty of the best site in any strand, in kcal/mol.

    Args:
        recognition_residues: The eight residues.
        strands: Strands of A, C, G and T, each read as it is written. A strand shorter than the
            site is no place to bind and costs as much as the worst site.
    """
    matrix = penalties(recognition_residues)
    best = float(matrix.max(axis=1).sum())
    for strand in strands:
        codes = np.array([BASES.index(letter) for letter in strand], dtype=np.int64)
        if len(codes) >= SITE_LENGTH:
            windows = np.lib.stride_tricks.sliding_window_view(codes, SITE_LENGTH)
            energies = matrix[np.arange(SITE_LENGTH), windows].sum(axis=1)  # (windows,)
            best = min(best, float(energies.min()))
    return best


def binding_energy(recognition_residues: str, strands: Sequence[str]) -> float:
    """Free energy of binding in kcal/mol, without noise.

    Args:
        recognition_residues: The eight residues; basic ones make every site stronger.
        strands: Strands, each read as it is written.
    """
    basic = sum(residue in "RK" for residue in recognition_residues)
    return (
        _UNSPECIFIC_KCAL_MOL
        + _BASIC_RESIDUE_KCAL_MOL * basic
        + site_penalty(recognition_residues, strands)
    )
