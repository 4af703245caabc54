from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biote.corpora.structures.complexes import find_complex, only_protein
from biote.corpora.structures.polymers import Polymer, ReadStructure, read_structure
from biote.corpora.structures.residues import heavy_atoms
from biote.corpora.structures.unusable import UnusableStructure
from biote.molecules import Modality, Molecule

STEP = 3.8  # from one residue to the next: N is 1.4 angstrom behind C


def chain_of(read: ReadStructure, name: str) -> Polymer:
    return next(polymer for polymer in read.polymers if polymer.chain == name)


@pytest.fixture
def protein(make_amino: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Residues by name, numbered from 1, at their places along a line."""

    def make(names: list[str], *, chain: str = "A", skip: set[int] = frozenset()) -> list[Any]:  # type: ignore[assignment]
        return [
            line
            for i, name in enumerate(names)
            if i not in skip
            for line in make_amino(name, chain, i + 1, i * STEP, hetero=name == "MSE")
        ]

    return make


NAMES = ["MSE", "ALA", "GLY", "LYS", "ALA", "GLY", "TRP", "ALA"]


def test_the_declared_sequence_keeps_the_place_of_missing_residues(
    write_pdb: Callable[..., Path], protein: Callable[..., list[Any]]
) -> None:
    path = write_pdb(protein(NAMES, skip={0, 4, 5}), sequences={"A": NAMES})
    found = read_structure(path).polymers[0]
    assert found.sequence == "MAGKAGWA"
    assert found.declared
    assert found.n_modified == 1
    assert found.n_unresolved == 3
    names = [None if r is None else r.name for r in found.residues]
    assert names == [None, "ALA", "GLY", "LYS", None, None, "TRP", "ALA"]


def test_a_repeat_is_placed_by_the_break_in_the_chain(
    write_pdb: Callable[..., Path], protein: Callable[..., list[Any]]
) -> None:
    # One of four alanines is missing; only the break says that it is the third.
    names = ["GLY", "ALA", "ALA", "ALA", "ALA", "LYS"]
    found = read_structure(write_pdb(protein(names, skip={3}), sequences={"A": names})).polymers[0]
    assert [r is None for r in found.residues] == [False, False, False, True, False, False]


def test_without_a_declared_sequence_the_atoms_are_the_sequence(
    write_pdb: Callable[..., Path], protein: Callable[..., list[Any]]
) -> None:
    found = read_structure(write_pdb(protein(NAMES, skip={4, 5}))).polymers[0]
    assert (found.sequence, found.declared) == ("MAGKWA", False)
    assert found.n_unresolved == 0


def test_insertion_codes_are_residues_of_their_own(
    write_pdb: Callable[..., Path], make_amino: Callable[..., Any]
) -> None:
    lines = [
        *make_amino("ALA", "A", 52, 0.0),
        *make_amino("GLY", "A", 52, STEP, code="A"),
        *make_amino("TRP", "A", 52, 2 * STEP, code="B"),
        *make_amino("LYS", "A", 53, 3 * STEP),
    ]
    assert read_structure(write_pdb(lines)).polymers[0].sequence == "AGWK"


def test_alternate_locations_give_one_atom_of_the_highest_occupancy(
    write_pdb: Callable[..., Path], make_amino: Callable[..., Any]
) -> None:
    def place(altloc: str, y: float, occupancy: float) -> list[Any]:
        return list(make_amino("GLY", "A", 2, STEP, altloc=altloc, y=y, occupancy=occupancy))

    lines = [
        *make_amino("ALA", "A", 1, 0.0),
        *place("A", 0.0, 0.4),
        *place("B", 0.5, 0.6),
        *make_amino("LYS", "A", 3, 2 * STEP),
    ]
    found = read_structure(write_pdb(lines)).polymers[0]
    assert found.sequence == "AGK"
    assert found.n_altloc == 1
    assert found.residues[1] is not None
    atoms = heavy_atoms(found.residues[1])
    assert [(atom.name, atom.pos.y) for atom in atoms] == [("N", 0.5), ("CA", 0.5), ("C", 0.5)]


def test_of_two_residues_at_one_place_the_more_frequent_is_kept(
    write_pdb: Callable[..., Path], make_amino: Callable[..., Any]
) -> None:
    lines = [
        *make_amino("ALA", "A", 1, 0.0),
        *make_amino("SER", "A", 2, STEP, altloc="A", occupancy=0.3),
        *make_amino("THR", "A", 2, STEP, altloc="B", occupancy=0.7),
        *make_amino("LYS", "A", 3, 2 * STEP),
    ]
    found = read_structure(write_pdb(lines)).polymers[0]
    assert found.sequence == "ATK"
    assert found.n_heterogeneous == 1


def test_waters_ligands_and_free_monomers_are_no_polymer(
    write_pdb: Callable[..., Path],
    protein: Callable[..., list[Any]],
    make_amino: Callable[..., Any],
    make_nucleotide: Callable[..., Any],
) -> None:
    water = make_amino("HOH", "A", 900, 50.0, hetero=True)[:1]
    amp = [
        type(line)(**{**vars(line), "hetero": True})
        for line in make_nucleotide("A", "A", 901, 90.0, 30.0, ribose=True)
    ]
    free = make_amino("GLY", "A", 902, 200.0, hetero=True)
    # Waters before the chain and after it, as some files have them.
    lines = [*water, *protein(["ALA", "GLY", "LYS"]), "TER", *amp, *free]
    read = read_structure(write_pdb(lines))
    assert [(p.chain, p.sequence) for p in read.polymers] == [("A", "AGK")]


@pytest.mark.parametrize(("ribose", "molecule"), [(True, Molecule.RNA), (False, Molecule.DNA)])
def test_the_sugar_says_what_nucleotides_of_old_names_are(
    write_pdb: Callable[..., Path],
    make_nucleotide: Callable[..., Any],
    ribose: bool,
    molecule: Molecule,
) -> None:
    lines = [
        line
        for i, name in enumerate(["A", "C", "G", "T"])
        for line in make_nucleotide(name, "B", i + 1, i * 6.0, 0.0, ribose=ribose)
    ]
    found = read_structure(write_pdb(lines)).polymers[0]
    assert (found.sequence, found.molecule) == ("ACGT", molecule)


def test_rna_is_written_with_t_and_unknown_nucleotides_as_n_or_their_stated_parent(
    write_pdb: Callable[..., Path], make_nucleotide: Callable[..., Any]
) -> None:
    lines = [
        line
        for i, name in enumerate(["U", "ZZZ", "P2U", "G"])
        for line in make_nucleotide(name, "B", i + 1, i * 6.0, 0.0, ribose=True)
    ]
    stated = "MODRES 1ABC P2U B    3   DU"
    found = read_structure(write_pdb([stated, *lines])).polymers[0]
    assert found.sequence == "TNTG"
    assert (found.n_unknown, found.n_modified) == (1, 1)


def test_only_the_first_model_is_read(
    write_pdb: Callable[..., Path], protein: Callable[..., list[Any]]
) -> None:
    lines = ["MODEL        3", *protein(["ALA", "GLY"]), "ENDMDL"]
    lines += ["MODEL        4", *protein(["TRP", "TRP"]), "ENDMDL"]
    read = read_structure(write_pdb(lines))
    assert (read.model, read.n_models) == (3, 2)
    assert [p.sequence for p in read.polymers] == ["AG"]


def test_atoms_that_contradict_the_sequence_are_refused(
    write_pdb: Callable[..., Path], protein: Callable[..., list[Any]]
) -> None:
    path = write_pdb(protein(["TRP"] * 8), sequences={"A": ["GLY"] * 8})
    with pytest.raises(UnusableStructure, match=r"1abc\.pdb: atoms contradict") as caught:
        read_structure(path)
    assert caught.value.reason == "atoms contradict the declared sequence"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.pdb", ""),
        ("x.cif", "data_x\n_cell.length_a 1\n"),
        ("x.cif", "loop_\n_a\n"),
        ("x.pdb.gz", "no gzip"),
        ("x.pdb", "HEADER    NOTHING\nEND\n"),
    ],
)
def test_damaged_and_empty_files_are_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UnusableStructure, match="x"):
        read_structure(path)


def test_pdb_and_mmcif_of_one_entry_say_the_same(real_structures: Path) -> None:
    pairs = [
        ("complexes/dna/1LCD", "complexes/dna/1LCD"),
        ("complexes_multichain/5ugo", "complexes_multichain/5ugo"),
        ("proteins/1A8O", "proteins/1A8O"),
        ("proteins/1aki", "proteins/1aki"),
    ]
    for pdb, cif in pairs:
        one = read_structure(real_structures / f"{pdb}.pdb.gz")
        other = read_structure(real_structures / f"{cif}.cif.gz")
        assert one.n_models == other.n_models
        for polymer in one.polymers:
            twin = chain_of(other, polymer.chain)
            assert (polymer.sequence, polymer.molecule) == (twin.sequence, twin.molecule)
            places = [r is None for r in polymer.residues]
            assert places == [r is None for r in twin.residues], (pdb, polymer.chain)


def test_numbers_agree_with_places_in_real_files(real_structures: Path) -> None:
    # In these files the residue number runs along the declared sequence.
    for name in ("dna/1FOK", "dna/1MNN", "dna/3wpd"):
        protein = only_protein(read_structure(real_structures / "complexes" / f"{name}.pdb.gz"))
        shifts = {
            residue.seqid.num - place
            for place, residue in enumerate(protein.residues)
            if residue is not None and residue.seqid.num is not None
        }
        assert protein.n_unresolved > 0
        assert len(shifts) == 1, name


def test_a_chain_with_waters_in_front_is_read_whole(real_structures: Path) -> None:
    found = find_complex(read_structure(real_structures / "complexes/rna/1FEU.pdb.gz"))
    assert [s.chain for s in found.nucleic] == ["B", "C"]
    assert [len(s.sequence) for s in found.nucleic] == [19, 21]
    assert {s.modality for s in found.nucleic} == {Modality.NUCLEIC}
