"""Single residues of a structure: what they are, their letters, atoms and bonds.

Legend: A atoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

import gemmi
import numpy as np
import numpy.typing as npt

from biote.molecules import RESIDUES, Modality, Molecule

PEPTIDE_BOND_ANGSTROM: Final = 2.0
PHOSPHATE_BOND_ANGSTROM: Final = 2.4
_BONDS: Final = (("C", "N", PEPTIDE_BOND_ANGSTROM), ("O3'", "P", PHOSPHATE_BOND_ANGSTROM))


def heavy_atoms(residue: gemmi.Residue) -> list[gemmi.Atom]:
    """Atoms but hydrogen, each name once: the location of highest occupancy, the first of equals.

    Args:
        residue: Residue of a polymer.
    """
    best: dict[str, gemmi.Atom] = {}
    for atom in residue:
        if atom.is_hydrogen():
            continue
        known = best.get(atom.name)
        if known is None or atom.occ > known.occ:
            best[atom.name] = atom
    return list(best.values())


def positions(atoms: Sequence[gemmi.Atom]) -> npt.NDArray[np.float64]:
    """Coordinates of atoms in angstrom, (A, 3)."""
    return np.array([atom.pos.tolist() for atom in atoms], np.float64).reshape(len(atoms), 3)


def one_per_place(residues: Sequence[gemmi.Residue]) -> tuple[list[gemmi.Residue], int]:
    """Keep one of several residues that a crystal holds at one place.

    Args:
        residues: Residues of a chain in the order of the file.

    Returns:
        The residue of highest occupancy at every place, the first of equals, and the number of
        places with several.
    """
    kept, several = [], 0
    for _, group in groupby(residues, key=lambda r: (r.subchain, r.label_seq, str(r.seqid))):
        options = list(group)
        several += len(options) > 1
        kept.append(max(options, key=lambda r: max((atom.occ for atom in r), default=0.0)))
    return kept, several


def bonded(one: gemmi.Residue, other: gemmi.Residue) -> bool:
    """Whether a peptide or phosphodiester bond leads from a residue to the next.

    Args:
        one: Residue.
        other: The residue behind it.
    """
    for end, start, limit in _BONDS:
        first, second = one.find_atom(end, "*"), other.find_atom(start, "*")
        if first and second and first.pos.dist(second.pos) <= limit:
            return True
    return False


def modality_of(residue: gemmi.Residue) -> Modality | None:
    """Protein or nucleic acid by gemmi's table, else by the atoms of the backbone.

    Args:
        residue: Any residue.

    Returns:
        Its alphabet; none for waters, ions and ligands.
    """
    entry = gemmi.find_tabulated_residue(residue.name)
    if entry.is_amino_acid():
        return Modality.PROTEIN
    if entry.is_nucleic_acid():
        return Modality.NUCLEIC
    names = {atom.name for atom in residue}
    if {"N", "CA", "C"} <= names:
        return Modality.PROTEIN
    if {"C1'", "C4'", "O3'"} <= names:
        return Modality.NUCLEIC
    return None


def canonical_letter(
    name: str, modality: Modality, *, parents: Mapping[str, str]
) -> tuple[str, bool]:
    """One-letter code of a residue; that of its parent where it is modified.

    Args:
        name: Residue name of up to five letters.
        modality: Alphabet of the chain.
        parents: Parent of modified residues as the file states them.

    Returns:
        The letter, X or N where there is none, and whether the residue is a modified one.
    """
    code = gemmi.find_tabulated_residue(name).one_letter_code
    modified = code.islower()
    if code == " " and name in parents:
        code = gemmi.find_tabulated_residue(parents[name]).one_letter_code
        modified = True
    letter = code.upper()
    if modality is Modality.PROTEIN:
        return (letter, modified) if letter in RESIDUES else ("X", modified)
    if name == "T":  # thymidine as files before 2008 name it, beside A, C and G
        letter = name
    letter = "T" if letter == "U" else letter
    return (letter, modified) if letter in tuple("ACGT") else ("N", modified)


def molecule_of(residues: Sequence[gemmi.Residue], modality: Modality) -> Molecule:
    """DNA or RNA by the sugars of most residues, RNA of equals; or protein.

    The atoms decide, not the names: in files before 2008 nucleotides of DNA are named like those
    of RNA.

    Args:
        residues: Resolved residues of a chain.
        modality: Alphabet of the chain.
    """
    if modality is Modality.PROTEIN:
        return Molecule.PROTEIN
    kinds = []
    for residue in residues:
        if residue.find_atom("C2'", "*"):
            kinds.append("RNA" if residue.find_atom("O2'", "*") else "DNA")
        else:
            entry = gemmi.find_tabulated_residue(residue.name)
            kinds.append("DNA" if entry.kind == gemmi.ResidueKind.DNA else "RNA")
    return Molecule.DNA if kinds.count("DNA") > kinds.count("RNA") else Molecule.RNA
