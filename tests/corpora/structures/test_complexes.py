from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Bio.Data.PDBData import protein_letters_3to1
from Bio.PDB.PDBParser import PDBParser

from biote.corpora.structures.complexes import find_complex
from biote.corpora.structures.polymers import read_structure
from biote.corpora.structures.unusable import UnusableStructure

NUCLEOTIDES = set("A C G U DA DC DG DT".split())


def reference(path: Path, protein: str, strands: list[str]) -> dict[str, float]:
    """Smallest heavy-atom distance of every residue by its number, by Biopython and brute force."""
    with gzip.open(path, "rt") as stream:
        model = next(iter(PDBParser(QUIET=True).get_structure("x", stream)))

    def heavy(residue: Any) -> list[Any]:
        return [a.coord.astype(float) for a in residue if a.element not in ("H", "D")]

    targets = np.array(
        [
            place
            for chain in strands
            for residue in model[chain]
            if residue.id[0] != "W" and residue.get_resname().strip() in NUCLEOTIDES
            for place in heavy(residue)
        ]
    )
    return {
        f"{residue.id[1]}{residue.id[2]}".strip(): min(
            float(np.sqrt(((targets - place) ** 2).sum(1)).min()) for place in heavy(residue)
        )
        for residue in model[protein]
        if residue.id[0] != "W" and residue.get_resname() in protein_letters_3to1
    }


@pytest.mark.parametrize(
    ("name", "protein", "strands"),
    [
        ("dna/1MNN", "A", ["B", "C"]),  # unresolved residues and alternate locations
        ("dna/1LCD", "A", ["B", "C"]),  # three models with hydrogens
        ("rna/1FEU", "A", ["B", "C"]),  # no declared sequence, waters first
        ("dna/5EGB", "A", ["C", "D"]),  # alternate locations, ions
    ],
)
def test_distances_are_those_of_an_independent_parser(
    real_structures: Path, name: str, protein: str, strands: list[str]
) -> None:
    path = real_structures / "complexes" / f"{name}.pdb.gz"
    found = find_complex(read_structure(path))
    expected = reference(path, protein, strands)
    ours = {
        str(residue.seqid).strip(): float(distance)
        for residue, distance in zip(found.protein.residues, found.distance, strict=True)
        if residue is not None
    }
    assert ours.keys() == expected.keys()
    for number, distance in expected.items():
        assert ours[number] == pytest.approx(distance, abs=1e-4), number
    unresolved = [residue is None for residue in found.protein.residues]
    assert np.isnan(found.distance).tolist() == unresolved


def test_hydrogens_and_waters_do_not_count(
    write_pdb: Callable[..., Path],
    make_amino: Callable[..., Any],
    make_nucleotide: Callable[..., Any],
) -> None:
    lines = [*make_amino("ALA", "A", 1, 0.0), *make_amino("GLY", "A", 2, 3.8)]
    first = lines[0]
    changed = {**vars(first), "name": "H", "element": "H", "y": 9.0, "x": 0.0}
    lines.insert(3, type(first)(**changed))
    water = {**vars(first), "residue": "HOH", "chain": "B", "number": 50, "y": 1.0}
    lines += [
        *make_nucleotide("DA", "B", 1, 0.0, 10.0),
        *make_nucleotide("DC", "B", 2, 6.0, 10.0),
        type(first)(**{**water, "name": "O", "element": "O", "hetero": True}),
    ]
    found = find_complex(read_structure(write_pdb(lines)))
    # C1' at (0, 10) over CA at (0, 0); C4' at (5, 10) over C at (5, 0).
    assert found.distance.tolist() == pytest.approx([10.0, 10.0])


def test_other_numbers_of_chains_are_refused_with_a_reason(
    write_pdb: Callable[..., Path],
    make_amino: Callable[..., Any],
    make_nucleotide: Callable[..., Any],
) -> None:
    def protein(chain: str, y: float) -> list[Any]:
        parts = [*make_amino("ALA", chain, 1, 0.0, y=y), *make_amino("GLY", chain, 2, 3.8, y=y)]
        return parts

    def strand(chain: str, y: float) -> list[Any]:
        return [*make_nucleotide("DA", chain, 1, 0.0, y), *make_nucleotide("DC", chain, 2, 6.0, y)]

    def reason(*chains: list[Any], least: int = 1) -> str:
        path = write_pdb([line for chain in chains for line in chain])
        with pytest.raises(UnusableStructure) as caught:
            find_complex(read_structure(path), least_residues=least)
        return f"{caught.value.reason}: {caught.value.detail}"

    a, b = protein("A", 0.0), protein("B", 50.0)
    c, d, e = strand("C", 10.0), strand("D", 20.0), strand("E", 30.0)
    assert reason(a) == "no nucleic chain: "
    assert reason(c) == "no protein chain: "
    assert reason(a, b, c) == "more than one protein chain: chains A, B"
    assert reason(a, c, d, e) == "more than two nucleic chains: chains C, D, E"
    assert reason(a, c, least=3) == "protein of fewer than 3 residues: chain A: 2"
