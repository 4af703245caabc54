"""The polymer chains of a PDB or mmCIF file, each residue at its place in the sequence.

Legend: L residues of a chain's sequence.

The sequence is the one the file declares (SEQRES, entity_poly_seq), so residues that were not
resolved keep their place; a file that declares none has only the residues with atoms. Which
residues are polymer is decided here: of an mmCIF file by its label_seq_id, of a PDB file by its
records and the bonds along the chain, because TER records are missing or misplaced in many files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import gemmi

from biote.corpora.structures.residues import (
    bonded,
    canonical_letter,
    modality_of,
    molecule_of,
    one_per_place,
)
from biote.corpora.structures.unusable import UnusableStructure
from biote.molecules import Modality, Molecule

LEAST_IDENTITY: Final = 0.9
"""Share of a chain's resolved residues that must bear the name the sequence has at their place."""

_CIGAR: Final = re.compile(r"(\d+)([MID])")


@dataclass(frozen=True, kw_only=True)
class Polymer:
    """One chain of the first model."""

    chain: str
    """Name of the chain, as authors gave it."""

    modality: Modality
    molecule: Molecule
    sequence: str
    """Canonical letters, L of them; RNA is written with T."""

    residues: tuple[gemmi.Residue | None, ...]
    """Residue with atoms at every place of the sequence, L; none where it is not resolved."""

    declared: bool
    """Whether the file declares the sequence; otherwise it is that of the atoms."""

    n_modified: int
    """Residues of the sequence that are chemically modified and have the letter of their parent."""

    n_unknown: int
    """Residues of the sequence without a parent: X or N."""

    n_heterogeneous: int
    """Places where the crystal holds several residues; the one of highest occupancy is kept."""

    n_mismatched: int
    """Resolved residues that bear another name than the sequence has at their place."""

    n_unplaced: int
    """Residues with atoms that have no place in the declared sequence, and are left out."""

    @property
    def n_unresolved(self) -> int:
        """Residues of the sequence without atoms."""
        return sum(residue is None for residue in self.residues)

    @property
    def n_altloc(self) -> int:
        """Residues with alternate locations; of each atom the one of highest occupancy is kept."""
        return sum(
            any(atom.has_altloc() for atom in residue)
            for residue in self.residues
            if residue is not None
        )


@dataclass(frozen=True, kw_only=True)
class ReadStructure:
    """What is used of a file: the polymers of its first model."""

    name: str
    """Name of the file without its endings, in upper case: the entry, as the archive names it."""

    model: int
    """Number of the first model."""

    n_models: int
    polymers: tuple[Polymer, ...]
    structure: gemmi.Structure


def read_structure(path: Path) -> ReadStructure:
    """Read the polymers of a PDB or mmCIF file.

    Args:
        path: File, also compressed with gzip.

    Raises:
        UnusableStructure: If it cannot be read, holds no model, or atoms contradict the sequence.
    """
    try:
        structure = gemmi.read_structure(str(path))
        if len(structure) == 0 or not any(len(chain) for chain in structure[0]):
            raise UnusableStructure("no atom", where=str(path))
        labelled = structure.input_format == gemmi.CoorFormat.Mmcif and any(
            residue.label_seq is not None for chain in structure[0] for residue in chain
        )
        found = _by_label(structure) if labelled else _by_bonds(structure)
    except UnusableStructure as error:
        raise UnusableStructure(error.reason, detail=error.detail, where=str(path)) from error
    except (ValueError, RuntimeError, OSError) as error:
        detail = " ".join(str(error).split())
        raise UnusableStructure(
            "cannot be read as PDB or mmCIF", detail=detail, where=str(path)
        ) from error
    return ReadStructure(
        name=path.name.split(".")[0].upper(),
        model=structure[0].num,
        n_models=len(structure),
        polymers=tuple(found),
        structure=structure,
    )


def _by_label(structure: gemmi.Structure) -> list[Polymer]:
    """Polymers of an mmCIF file: label_seq_id is the place in the sequence."""
    declared = {
        subchain: entity.full_sequence
        for entity in structure.entities
        for subchain in entity.subchains
    }
    members: dict[str, list[gemmi.Residue]] = {}
    chain_of: dict[str, str] = {}
    for chain in structure[0]:
        for residue in chain:
            if residue.label_seq is not None and modality_of(residue) is not None:
                members.setdefault(residue.subchain, []).append(residue)
                chain_of[residue.subchain] = chain.name
    found = []
    for subchain, candidates in members.items():
        residues, several = one_per_place(candidates)
        names = [name.split(",") for name in declared.get(subchain, [])]
        places: list[int | None] = list(range(len(residues)))
        if names:
            labels = [r.label_seq for r in residues if r.label_seq is not None]
            if not 1 <= min(labels) <= max(labels) <= len(names):
                raise UnusableStructure(
                    "label_seq_id outside the declared sequence", detail=f"chain {subchain}"
                )
            places = [label - 1 for label in labels]
        if len(residues) > 1:
            found.append(_polymer(structure, chain_of[subchain], residues, places, names, several))
    return found


def _by_bonds(structure: gemmi.Structure) -> list[Polymer]:
    """Polymers of a PDB file: ATOM records, and HETATM records bonded into the chain."""
    declared = {entity.name: entity.full_sequence for entity in structure.entities}
    found = []
    for chain in structure[0]:
        candidates = [r for r in chain if not r.is_water() and modality_of(r) is not None]
        residues, several = one_per_place(candidates)
        linked = [False] * len(residues)
        for i, (one, other) in enumerate(pairwise(residues)):
            if bonded(one, other):
                linked[i] = linked[i + 1] = True
        kept = [
            residue
            for residue, link in zip(residues, linked, strict=True)
            if link or residue.het_flag == "A"
        ]
        parts = [[r for r in kept if modality_of(r) is modality] for modality in Modality]
        parts = [part for part in parts if len(part) > 1]
        names = [name.split(",") for name in declared.get(chain.name, [])]
        if len(parts) > 1 and names:
            raise UnusableStructure(
                "protein and nucleic acid under one chain name", detail=f"chain {chain.name}"
            )
        for part in parts:
            places = _aligned(part, names) if names else list(range(len(part)))
            found.append(_polymer(structure, chain.name, part, places, names, several))
    return found


def _aligned(residues: list[gemmi.Residue], names: list[list[str]]) -> list[int | None]:
    """Place of every residue in the declared sequence; gaps open where the chain is broken."""
    chain = gemmi.Chain("A")
    for residue in residues:
        chain.add_residue(residue)
    protein = modality_of(residues[0]) is Modality.PROTEIN
    kind = gemmi.PolymerType.PeptideL if protein else gemmi.PolymerType.DnaRnaHybrid
    result = gemmi.align_sequence_to_polymer([n[0] for n in names], chain.whole(), kind)
    places: list[int | None] = []
    at = 0
    for number, operation in _CIGAR.findall(result.cigar_str()):
        if operation == "M":
            places += range(at, at + int(number))
        elif operation == "D":  # atoms the sequence does not have
            places += [None] * int(number)
        if operation != "D":
            at += int(number)
    assert len(places) == len(residues)
    assert at == len(names)
    return places


def _polymer(
    structure: gemmi.Structure,
    chain: str,
    residues: Sequence[gemmi.Residue],
    places: Sequence[int | None],
    names: list[list[str]],
    several: int,
) -> Polymer:
    """The polymer of residues at their places in a declared sequence, or in that of the atoms."""
    declared = bool(names)
    spelt = [options[0] for options in names] if declared else [r.name for r in residues]
    at: list[gemmi.Residue | None] = [None] * len(spelt)
    mismatched = 0
    for residue, place in zip(residues, places, strict=True):
        if place is not None:
            at[place] = residue
            mismatched += declared and residue.name not in names[place]
    unplaced = len(residues) - sum(residue is not None for residue in at)
    if mismatched + unplaced > (1 - LEAST_IDENTITY) * len(residues):
        raise UnusableStructure(
            "atoms contradict the declared sequence",
            detail=f"chain {chain}: {mismatched + unplaced} of {len(residues)} residues",
        )
    modalities = [modality_of(residue) for residue in residues]
    modality = max(Modality, key=modalities.count)
    parents = {m.res_id.name: m.parent_comp_id for m in structure.mod_residues if m.parent_comp_id}
    letters = [canonical_letter(name, modality, parents=parents) for name in spelt]
    sequence = "".join(letter for letter, _ in letters)
    return Polymer(
        chain=chain,
        modality=modality,
        molecule=molecule_of(residues, modality),
        sequence=sequence,
        residues=tuple(at),
        declared=declared,
        n_modified=sum(modified for _, modified in letters),
        n_unknown=sequence.count("X" if modality is Modality.PROTEIN else "N"),
        n_heterogeneous=several,
        n_mismatched=mismatched,
        n_unplaced=unplaced,
    )
