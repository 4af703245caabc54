from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

from biote.corpora.structures.complexes import find_complex
from biote.corpora.structures.paint import NO_VALUE, paint_structure
from biote.corpora.structures.polymers import read_structure
from biote.errors import DataError


@pytest.mark.parametrize("name", ["dna/1MNN.pdb.gz", "rna/1FEU.pdb.gz", "dna/1LCD.cif.gz"])
def test_every_atom_of_a_residue_bears_its_value_and_no_other_does(
    real_structures: Path, tmp_path: Path, name: str
) -> None:
    read = read_structure(real_structures / "complexes" / name)
    before = find_complex(read)
    rng = np.random.default_rng(0)
    values = rng.uniform(size=len(before.distance)).round(4)
    values[::7] = np.nan
    painted = paint_structure(read, values, tmp_path / "painted.cif")

    again = read_structure(tmp_path / "painted.cif")
    after = find_complex(again)
    assert again.n_models == 1
    assert after.protein.sequence == before.protein.sequence
    assert [s.sequence for s in after.nucleic] == [s.sequence for s in before.nucleic]
    assert [s.molecule for s in after.nucleic] == [s.molecule for s in before.nucleic]
    np.testing.assert_allclose(after.distance, before.distance, atol=2e-3)
    resolved = ~np.isnan(before.distance)
    assert painted == int((resolved & ~np.isnan(values)).sum())

    structure = gemmi.read_structure(str(tmp_path / "painted.cif"))
    expected = {
        str(residue.seqid): value * 100 if np.isfinite(value) else NO_VALUE
        for residue, value in zip(after.protein.residues, values, strict=True)
        if residue is not None
    }
    for chain in structure[0]:
        for residue in chain:
            protein = chain.name == after.protein.chain and residue.label_seq is not None
            wanted = expected[str(residue.seqid)] if protein else NO_VALUE
            for atom in residue:
                assert atom.b_iso == pytest.approx(wanted, abs=0.0051)


def test_values_of_another_protein_are_refused(real_structures: Path, tmp_path: Path) -> None:
    read = read_structure(real_structures / "complexes/dna/1AZP.pdb.gz")
    with pytest.raises(DataError, match="65 values for 66 residues"):
        paint_structure(read, np.zeros(65), tmp_path / "painted.cif")
    assert not (tmp_path / "painted.cif").exists()
