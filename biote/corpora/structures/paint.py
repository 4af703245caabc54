"""Values of residues painted on a structure: the B-factor column of an mmCIF file.

Legend: L residues of the protein's sequence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import gemmi
import numpy as np
import numpy.typing as npt

from biote.atomic import atomic_path
from biote.corpora.structures.complexes import only_protein
from biote.corpora.structures.polymers import Polymer, ReadStructure
from biote.corpora.structures.residues import heavy_atoms
from biote.errors import DataError

NO_VALUE: Final = -1.0
"""B-factor of atoms without a value: other chains, ligands, waters, residues left out."""


def paint_structure(
    read: ReadStructure,
    values: npt.NDArray[np.floating],
    output: Path,
    *,
    scale: float = 100.0,
) -> int:
    """Write the first model with values in the place of B-factors.

    All atoms of a residue bear its value, in all its alternate locations. The file states the
    sequence and the place of every residue in it, also where the file that was read did not.

    Args:
        read: Structure with exactly one protein chain; its atoms are changed.
        values: Value of every residue of the protein's sequence, (L,); NaN where there is none.
        output: mmCIF file to write.
        scale: Values are multiplied by it; the format keeps two decimals.

    Returns:
        Number of resolved residues that were painted.

    Raises:
        DataError: If there are not L values, or not exactly one protein.
    """
    protein = only_protein(read)
    if values.shape != (len(protein.sequence),):
        raise DataError(
            f"{values.size} values for {len(protein.sequence)} residues",
            where=read.name,
            mend="give one for every residue of the sequence, unresolved ones included",
        )
    structure = read.structure
    for number in range(len(structure) - 1, 0, -1):
        del structure[number]
    for chain in structure[0]:
        for residue in chain:
            _set_factor(residue, NO_VALUE)
    painted = 0
    for resolved, value in zip(protein.residues, values.tolist(), strict=True):
        if resolved is not None and np.isfinite(value):
            _set_factor(resolved, value * scale)
            painted += 1
    _state_sequences(read)
    with atomic_path(output) as partial:
        structure.make_mmcif_document().write_file(str(partial))
    return painted


def _set_factor(residue: gemmi.Residue, value: float) -> None:
    for atom in residue:
        atom.b_iso = value
        atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)


def _state_sequences(read: ReadStructure) -> None:
    """Write down what is polymer, and where in the sequence, as the reader found it."""
    for polymer in read.polymers:
        for place, residue in enumerate(polymer.residues, 1):
            if residue is not None:
                residue.entity_type = gemmi.EntityType.Polymer
                residue.label_seq = place
    read.structure.setup_entities()


def backbone_coordinates(strand: Polymer) -> npt.NDArray[np.float32]:
    """C4' coordinates of a nucleic strand, the atom that every nucleotide has.

    Args:
        strand: Chain of L nucleotides.

    Returns:
        Angstrom, (L, 3); NaN where a nucleotide is not resolved.
    """
    places = np.full((len(strand.residues), 3), np.nan, np.float32)
    for i, residue in enumerate(strand.residues):
        for atom in heavy_atoms(residue) if residue is not None else []:
            if atom.name == "C4'":
                places[i] = atom.pos.tolist()
    return places
