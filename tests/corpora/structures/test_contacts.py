from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from biote.corpora.ledger import read_ledger
from biote.corpora.structures.contacts import CONTACT_SCHEMA, write_contacts
from biote.corpora.structures.maps import write_maps
from biote.errors import ConfigError, DataError


@pytest.fixture
def complexes(
    tmp_path: Path,
    write_pdb: Callable[..., Path],
    make_amino: Callable[..., Any],
    make_nucleotide: Callable[..., Any],
) -> Path:
    """One complex, once more under the same name, a lone protein, and a file that is none."""
    protein = [
        line
        for i, name in enumerate(["ALA", "GLY", "LYS", "TRP"])
        if i != 1
        for line in make_amino(name, "A", i + 1, i * 3.8)
    ]
    strand = [
        line
        for i, name in enumerate(["A", "U"])
        for line in make_nucleotide(name, "B", i + 1, i * 6.0, 5.0, ribose=True)
    ]
    names = {"A": ["ALA", "GLY", "LYS", "TRP"]}
    write_pdb([*protein, *strand], name="1abc.pdb", sequences=names)
    write_pdb([*protein, *strand], name="1ABC.ent", sequences=names)
    write_pdb(protein, name="2abc.pdb", sequences=names)
    (tmp_path / "3abc.pdb").write_text("nothing\n")
    return tmp_path


def test_the_table_has_every_residue_and_the_ledger_every_refused_file(
    complexes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "contacts.parquet"
    report = write_contacts([complexes], output, least_residues=2)
    table = pq.read_table(output)
    assert table.schema.equals(CONTACT_SCHEMA)
    (row,) = table.to_pylist()
    assert (row["id"], row["protein"], row["chains"]) == ("1ABC", "AGKW", ["A", "B"])
    assert row["nucleic"] == [{"sequence": "AT", "molecule": "RNA"}]
    assert np.isnan(row["distance"][1])
    # The nucleic acid ends above x = 8.5; the last residue has its N at 10.2, 5 angstrom below.
    expected = [5.0, np.hypot(10.2 - 8.5, 5.0)]
    assert [row["distance"][0], row["distance"][3]] == pytest.approx(expected, abs=1e-4)
    assert (row["n_unresolved"], row["model"], row["declared"]) == (1, 1, True)
    assert report.positive == {8.0: (3, 3), 6.0: (3, 3), 4.0: (0, 3)}
    reasons = {bad.record + bad.source[-3:]: bad.reason for bad in read_ledger(report.ledger)}
    assert reasons == {
        "1ABCpdb": "entry of the same name as an earlier file",
        "2ABCpdb": "no nucleic chain",
        "3ABCpdb": "no atom",
    }
    assert (report.tally.files, report.tally.used) == (4, 1)


def test_a_file_that_is_there_is_replaced_only_if_asked(complexes: Path, tmp_path: Path) -> None:
    output = tmp_path / "contacts.parquet"
    output.write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        write_contacts([complexes], output)
    assert output.read_text() == "mine"


def test_nothing_usable_is_an_error_that_names_the_ledger(complexes: Path, tmp_path: Path) -> None:
    output = tmp_path / "contacts.parquet"
    with pytest.raises(DataError, match=r"contacts\.parquet\.ledger\.jsonl: none of 4 files"):
        write_contacts([complexes], output, least_residues=5)
    assert not output.exists()
    with pytest.raises(DataError, match="no such file"):
        write_contacts([tmp_path / "absent"], output)


def test_maps_hold_the_alpha_atoms_of_single_proteins(complexes: Path, tmp_path: Path) -> None:
    report = write_maps([complexes], tmp_path / "maps.parquet", least_residues=2, min_separation=2)
    (row,) = pq.read_table(report.output).to_pylist()
    assert (row["id"], row["sequence"], row["n_unresolved"]) == ("2ABC", "AGKW", 1)
    places = np.array(row["coordinates"]).reshape(4, 3)
    assert np.isnan(places[1]).all()
    np.testing.assert_allclose(places[[0, 2, 3], 0], [0.0, 7.6, 11.4], atol=1e-4)
    # Pairs 1-3 (7.6 angstrom) and 1-4 (11.4); 2-4 is not resolved.
    assert (report.pairs, report.contacts) == (2, 1)


def test_shares_of_the_real_complexes(real_structures: Path, tmp_path: Path) -> None:
    report = write_contacts([real_structures / "complexes"], tmp_path / "contacts.parquet")
    assert (report.tally.files, report.tally.used, report.residues) == (55, 53, 9339)
    shares = [near / resolved for near, resolved in report.positive.values()]
    # The ratios of positive to negative in the literature are 0.29, 0.16 and 0.09.
    assert shares == pytest.approx([0.309, 0.195, 0.129], abs=1e-3)
    rejected = write_contacts_of_many(real_structures / "complexes_multichain", tmp_path)
    assert rejected == {"more than one protein chain", "more than two nucleic chains"}


def write_contacts_of_many(folder: Path, tmp_path: Path) -> set[str]:
    with pytest.raises(DataError, match="none of 10 files"):
        write_contacts([folder], tmp_path / "many.parquet")
    return {bad.reason for bad in read_ledger(tmp_path / "many.parquet.ledger.jsonl")}
