from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from biote.datamodules.pronab import read_pronab
from biote.molecules import STANDARD_RESIDUES, reverse_complement
from biote.synthetic.pronab import (
    RNA_WEAKENING_KCAL_MOL,
    RT_KCAL_MOL,
    BindingData,
    draw_binding_data,
    write_pronab,
)
from biote.synthetic.proteins import draw_families
from biote.synthetic.recognition import find_recognition_residues, site_penalty


@pytest.fixture(scope="module")
def data() -> BindingData:
    rng = np.random.default_rng(0)
    families = draw_families(6, rng=rng)
    return draw_binding_data(families, proteins=60, rows_per_protein=15, rng=rng)


@pytest.fixture(scope="module")
def content(data: BindingData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("pronab") / "pronab" / "pronab_no_mutations.json"
    write_pronab(path, data)
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def _usable(entry: dict[str, Any]) -> list[list[Any]]:
    return [
        row
        for row in entry["binding data"]
        if row[1] in ("DNA", "RNA") and row[3] <= -0.005 and row[0]
    ]


def test_the_layout_is_that_of_the_real_file(content: dict[str, Any]) -> None:
    assert len(content) == 60
    kinds: Counter[str] = Counter()
    for entry in content.values():
        assert set(entry) == {"binding data", "Protein Name", "Protein source", "Sequence"}
        assert set(entry["Sequence"]) <= set(STANDARD_RESIDUES)
        for first, kind, kd, delta_g, second in entry["binding data"]:
            assert set(first + second) <= set("ACGT"), "RNA is written with T"
            assert isinstance(kd, float)
            assert isinstance(delta_g, float)
            kinds[kind] += 1
    assert set(kinds) == {"DNA", "RNA", "Other"}
    assert kinds["DNA"] > kinds["RNA"] > kinds["Other"] > 0


def test_energies_are_in_range_and_agree_with_the_constants(content: dict[str, Any]) -> None:
    rows = [row for entry in content.values() for row in _usable(entry)]
    for _, _, kd, delta_g, _ in rows:
        assert -20.01 <= delta_g <= -0.01
        assert RT_KCAL_MOL * math.log(kd) == pytest.approx(delta_g, abs=0.02)
    assert 1 < np.std([row[3] for row in rows]) < 4


def test_awkward_rows_are_there_in_the_numbers_that_are_told(
    data: BindingData, content: dict[str, Any]
) -> None:
    rows = [row for entry in content.values() for row in entry["binding data"]]
    seconds = [row for row in rows if row[0] and row[4]]
    distinct = {
        (accession, json.dumps(row))
        for accession, entry in content.items()
        for row in entry["binding data"]
    }
    sequences = Counter(entry["Sequence"] for entry in content.values())
    assert data.awkward == {
        "missing value": sum(row[2] == row[3] == 0 for row in rows),
        "Kd in the Delta G field": sum(0 < row[3] < 2e-7 for row in rows),
        "type Other": sum(row[1] == "Other" for row in rows),
        "empty first strand": sum(not row[0] and bool(row[4]) for row in rows),
        "second strand no reverse complement": sum(
            row[4] != reverse_complement(row[0]) for row in seconds
        ),
        "exact duplicate": len(rows) - len(distinct),
        "shared sequence": sum(times - 1 for times in sequences.values()),
    }
    assert min(data.awkward.values()) >= 1


def test_the_data_module_drops_what_is_awkward(data: BindingData, tmp_path: Path) -> None:
    write_pronab(tmp_path / "a.json", data)
    read = read_pronab(tmp_path / "a.json")
    told = ("missing value", "Kd in the Delta G field", "type Other", "empty first strand")
    assert sum(read.dropped.values()) == sum(data.awkward[kind] for kind in told)
    total = sum(len(protein.measurements) for protein in data.proteins)
    assert len(read.rows) == total - sum(read.dropped.values())
    assert len({row.group for row in read.rows}) == len(data.proteins) - 1


def _scores(
    content: dict[str, Any], accessions: list[str], *, reader_of: dict[str, str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Penalties by the matrix of ``reader_of`` each protein, and Delta G as if on DNA."""
    rows = [
        (
            site_penalty(reader_of[accession], [s for s in (row[0], row[4]) if s]),
            row[3] - RNA_WEAKENING_KCAL_MOL * (row[1] == "RNA"),
        )
        for accession in accessions
        for row in _usable(content[accession])
    ]
    scores, energies = zip(*rows, strict=True)
    return np.array(scores), np.array(energies)


def test_the_matrix_in_the_protein_predicts_binding_and_a_foreign_one_does_not(
    content: dict[str, Any],
) -> None:
    accessions = list(content)
    residues = {a: find_recognition_residues(content[a]["Sequence"]) for a in accessions}
    train, test = accessions[:30], accessions[30:]
    # A line fitted on some proteins holds for the others: the code is the same for all.
    slope, offset = np.polyfit(*_scores(content, train, reader_of=residues), 1)
    scores, energies = _scores(content, test, reader_of=residues)
    assert np.corrcoef(scores, energies)[0, 1] > 0.7
    error = np.abs(slope * scores + offset - energies).mean()
    assert error < 0.8 * np.abs(energies - energies.mean()).mean()

    rng = np.random.default_rng(0)
    foreign = {a: str(rng.choice([r for r in residues.values() if r != residues[a]])) for a in test}
    scores, energies = _scores(content, test, reader_of=foreign)
    assert abs(np.corrcoef(scores, energies)[0, 1]) < 0.3


def test_a_seed_decides_everything() -> None:
    families = draw_families(3, rng=np.random.default_rng(0))

    def drawn(seed: int) -> BindingData:
        rng = np.random.default_rng(seed)
        return draw_binding_data(families, proteins=5, rows_per_protein=4, rng=rng)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
