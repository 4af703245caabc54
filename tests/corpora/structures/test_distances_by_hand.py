"""Distances of real complexes from the letters of their files, without a parser of structures."""

from __future__ import annotations

import gzip
import math
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from biote.corpora.structures.contacts import write_contacts
from biote.datamodules.contacts import read_contacts

Place = tuple[float, float, float]
Atom = tuple[str, str, str, str, float, Place]
"""Chain, number with insertion code, residue, atom name, occupancy, place."""

RESIDUES = dict(
    zip(
        "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(),
        "ARNDCQEGHILKMFPSTWYV",
        strict=True,
    )
)
NUCLEOTIDES = set("A C G U DA DC DG DT".split())


def atoms_of_pdb(text: str) -> list[Atom]:
    """Heavy atoms of the first model, by the columns of the format."""
    found: list[Atom] = []
    for line in text.splitlines():
        if line.startswith("ENDMDL"):
            break
        if line[:6] not in ("ATOM  ", "HETATM"):
            continue
        name = line[12:16].strip()
        element = line[76:78].strip() or name.lstrip("0123456789")[0]
        if element in ("H", "D"):
            continue
        place = float(line[30:38]), float(line[38:46]), float(line[46:54])
        number = line[22:27].replace(" ", "")
        found.append((line[21], number, line[17:20].strip(), name, float(line[54:60]), place))
    return found


def atoms_of_mmcif(text: str) -> list[Atom]:
    """Heavy atoms of the first model, by the names of the columns of the loop."""
    columns: list[str] = []
    found: list[Atom] = []
    for line in text.splitlines():
        if line.startswith("_atom_site."):
            columns.append(line.split(".")[1].strip())
        elif columns and line.startswith(("ATOM", "HETATM")):
            of = dict(zip(columns, shlex.split(line.replace("'", "\\'")), strict=True))
            if of["pdbx_PDB_model_num"] != "1" or of["type_symbol"] in ("H", "D"):
                continue
            place = float(of["Cartn_x"]), float(of["Cartn_y"]), float(of["Cartn_z"])
            number = of["auth_seq_id"] + of["pdbx_PDB_ins_code"].strip("?.")
            residue, name = of["auth_comp_id"], of["auth_atom_id"].strip('"')
            found.append((of["auth_asym_id"], number, residue, name, float(of["occupancy"]), place))
    return found


def nearest(atoms: list[Atom], protein: str, strands: set[str]) -> list[tuple[str, float]]:
    """Letter of every resolved residue in order, and its distance to the nearest nucleotide."""
    best: dict[tuple[str, str, str], tuple[float, Place]] = {}
    residue_of: dict[tuple[str, str], str] = {}
    for chain, number, residue, name, occupancy, place in atoms:
        known = RESIDUES if chain == protein else NUCLEOTIDES if chain in strands else set()
        if residue not in known:
            continue
        residue_of.setdefault((chain, number), residue)
        key = chain, number, name
        if key not in best or occupancy > best[key][0]:  # of alternate locations the likeliest
            best[key] = occupancy, place
    targets = [place for (chain, _, _), (_, place) in best.items() if chain in strands]
    found: dict[str, float] = {}
    for (chain, number, _), (_, place) in best.items():
        if chain == protein:
            smallest = min(math.dist(place, target) for target in targets)
            found[number] = min(found.get(number, math.inf), smallest)
    return [(RESIDUES[residue_of[protein, number]], d) for number, d in found.items()]


@pytest.mark.parametrize(
    ("name", "protein", "strands"),
    [
        ("dna/1MNN.pdb", "A", "BC"),  # alternate locations, residues that are not resolved
        ("rna/1FEU.pdb", "A", "BC"),  # no declared sequence
        ("dna/1LCD.cif", "A", "BC"),  # three models with hydrogens, as mmCIF
        ("rna/5ELH.pdb", "B", "R"),  # chains of other names
    ],
)
def test_labels_are_those_of_atoms_read_by_hand(
    real_structures: Path, tmp_path: Path, name: str, protein: str, strands: str
) -> None:
    path = real_structures / "complexes" / f"{name}.gz"
    text = gzip.open(path, "rt").read()
    atoms = atoms_of_mmcif(text) if name.endswith("cif") else atoms_of_pdb(text)
    expected = nearest(atoms, protein, set(strands))
    output = tmp_path / "contacts.parquet"
    write_contacts([path], output)
    (row,) = pq.read_table(output).to_pylist()
    assert row["chains"] == [protein, *strands]
    ours = [
        (letter, distance)
        for letter, distance in zip(row["protein"], row["distance"], strict=True)
        if not math.isnan(distance)
    ]
    assert "".join(letter for letter, _ in ours) == "".join(letter for letter, _ in expected)
    distances = np.array([distance for _, distance in expected])
    np.testing.assert_allclose([distance for _, distance in ours], distances, atol=1e-4)
    # And so the labels, at every threshold.
    (labelled,) = read_contacts(output, cutoffs_angstrom=[8.0, 6.0, 4.0])
    known = labelled.labels[~np.isnan(labelled.labels[:, 0])]
    for column, cutoff in enumerate((8.0, 6.0, 4.0)):
        clear = np.abs(distances - cutoff) > 1e-3
        assert (known[clear, column] == (distances[clear] <= cutoff)).all()
    assert 0 < known[:, 0].mean() < 1
