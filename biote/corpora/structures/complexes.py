"""How far the residues of a protein are from the nucleic acid it is bound to.

Legend: L residues of the protein, P and N heavy atoms of protein and nucleic acid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.corpora.structures.polymers import Polymer, ReadStructure
from biote.corpora.structures.residues import heavy_atoms, positions
from biote.corpora.structures.unusable import UnusableStructure
from biote.molecules import Modality

MOST_STRANDS: Final = 2
_ROWS_AT_ONCE: Final = 512


@dataclass(frozen=True, kw_only=True)
class Complex:
    """One protein chain and the nucleic chains it is bound to."""

    protein: Polymer
    nucleic: tuple[Polymer, ...]
    distance: npt.NDArray[np.float32]
    """Smallest distance of a heavy atom of every residue to one of any nucleotide, in angstrom,
    (L,); NaN where the residue is not resolved."""


def find_complex(read: ReadStructure, *, least_residues: int = 1) -> Complex:
    """Find the protein and the nucleic acid of a structure, and measure their distances.

    Args:
        read: Structure with exactly one protein chain and one or two nucleic chains.
        least_residues: A shorter protein is refused.

    Raises:
        UnusableStructure: If there are other numbers of chains, or no atom to measure from.
    """
    protein = only_protein(read, least_residues=least_residues)
    nucleic = tuple(p for p in read.polymers if p.modality is Modality.NUCLEIC)
    if not nucleic:
        raise UnusableStructure("no nucleic chain")
    if len(nucleic) > MOST_STRANDS:
        raise UnusableStructure("more than two nucleic chains", detail=_names(nucleic))
    return Complex(protein=protein, nucleic=nucleic, distance=residue_distances(protein, nucleic))


def only_protein(read: ReadStructure, *, least_residues: int = 1) -> Polymer:
    """The one protein chain of a structure.

    Args:
        read: Structure with exactly one.
        least_residues: A shorter protein is refused.

    Raises:
        UnusableStructure: If there is none, are several, or it is too short.
    """
    proteins = [p for p in read.polymers if p.modality is Modality.PROTEIN]
    if not proteins:
        raise UnusableStructure("no protein chain")
    if len(proteins) > 1:
        raise UnusableStructure("more than one protein chain", detail=_names(proteins))
    if len(proteins[0].sequence) < least_residues:
        raise UnusableStructure(
            f"protein of fewer than {least_residues} residues",
            detail=f"chain {proteins[0].chain}: {len(proteins[0].sequence)}",
        )
    return proteins[0]


def _names(polymers: Sequence[Polymer]) -> str:
    return f"chains {', '.join(polymer.chain for polymer in polymers)}"


def residue_distances(protein: Polymer, nucleic: Sequence[Polymer]) -> npt.NDArray[np.float32]:
    """Smallest heavy-atom distance of every residue to any nucleotide.

    Args:
        protein: Protein chain of L residues.
        nucleic: Nucleic chains.

    Returns:
        Angstrom, (L,); NaN where a residue is not resolved.

    Raises:
        UnusableStructure: If protein or nucleic acid have no atom.
    """
    nucleotides = [r for chain in nucleic for r in chain.residues if r is not None]
    targets = positions([atom for r in nucleotides for atom in heavy_atoms(r)])  # (N, 3)
    atoms = [heavy_atoms(residue) if residue is not None else [] for residue in protein.residues]
    owner = np.repeat(np.arange(len(atoms)), [len(of) for of in atoms])  # (P,)
    sources = positions([atom for of in atoms for atom in of])  # (P, 3)
    if not len(targets) or not len(sources):
        raise UnusableStructure("no heavy atom of protein or nucleic acid")
    nearest: npt.NDArray[np.float64] = np.full(len(atoms), np.inf)
    for start in range(0, len(sources), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        difference = sources[rows, None, :] - targets[None, :, :]
        np.minimum.at(nearest, owner[rows], (difference * difference).sum(-1).min(1))
    nearest[np.isinf(nearest)] = np.nan  # residues without an atom
    distance: npt.NDArray[np.float32] = np.sqrt(nearest).astype(np.float32)
    return distance
