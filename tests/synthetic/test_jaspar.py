"""A planted motif is found by the whole pipeline, and nothing where there is nothing to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from biote.datamodules.jaspar import JasparDataModule
from biote.datamodules.jaspar.database import read_database
from biote.datamodules.rows import Row
from biote.molecules import Modality, reverse_complement
from biote.synthetic.dataset import write_all
from biote.synthetic.recognition import best_site, binding_energy, find_recognition_residues
from biote.tasks.specificity import (
    ALL_MUTANTS,
    FACTOR_MEAN,
    MATCHED,
    MINUS_CONTROL,
    WITHIN_SPEARMAN,
    differences,
    specificity_table,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic")
    write_all(path, seed=1, size="small")
    return path


@pytest.fixture(scope="module")
def data(folder: Path) -> JasparDataModule:
    return JasparDataModule(
        folder, "character", trained_on=folder, scores_file=folder / "scores.parquet",
        batch_size=8, probabilities=(0.05, 0.5),
    )  # fmt: skip


def energy(row: Row) -> float:
    proteins = [s for s, m in row.parts if m.modality is Modality.PROTEIN]
    strands = [s for s, m in row.parts if m.modality is Modality.NUCLEIC]
    return binding_energy(find_recognition_residues(proteins[0]), strands)


def predictions(rows: list[Row], energies: list[float]) -> pl.DataFrame:
    frame = pl.DataFrame({"row_id": [row.id for row in rows], "prediction": energies})
    return frame.with_columns(pl.lit("oracle").alias("model"), pl.lit(0).alias("fold"))


def line(table: pl.DataFrame, statistic: str, control: str = MATCHED) -> dict[str, float]:
    lines = table.filter(
        pl.col("statistic") == statistic, pl.col("control") == control,
        pl.col("stratum") == ALL_MUTANTS, pl.col("probability") == 0.05,
    )  # fmt: skip
    return dict(lines.row(0, named=True))


def test_profiles_say_what_proteins_bind(folder: Path) -> None:
    database = read_database(folder / "jaspar")
    latest = [p for p in database.profiles.values() if p.version == 2]
    sites = [best_site(find_recognition_residues(f.sequence))
             for f in database.proteins.values() if f.sequence]  # fmt: skip
    assert len(latest) == len(sites) == 60
    assert [profile.consensus for profile in latest] == sites
    assert sum(p.is_dimer for p in database.profiles.values()) == 1
    assert sum(not f.sequence for f in database.proteins.values()) == 1


def test_scaffolds_are_no_relatives_of_training_proteins(data: JasparDataModule) -> None:
    assert data.variants.frame().get_column("protein").n_unique() > 50


def test_who_knows_the_motif_finds_it(data: JasparDataModule) -> None:
    rows = data.rows("test")
    found = differences(data.variants.frame(), predictions(rows, [energy(row) for row in rows]))
    table = specificity_table(found)
    matched = line(table, FACTOR_MEAN)
    assert matched["value"] > 0.5
    assert matched["low"] > 0
    assert matched["p_bootstrap"] < 1e-3
    assert matched["p_wilcoxon"] < 1e-3
    for control in ("other_family", "shuffled"):
        assert line(table, FACTOR_MEAN, control)["value"] < 0.3 * matched["value"]
        paired = line(table, MINUS_CONTROL, control)
        assert paired["low"] > 0
        assert paired["p_bootstrap"] < 1e-3
    assert line(table, WITHIN_SPEARMAN)["value"] > 0.3


def test_shuffled_predictions_find_nothing(data: JasparDataModule) -> None:
    rows = data.rows("test")
    energies = np.random.default_rng(0).permutation([energy(row) for row in rows])
    table = specificity_table(
        differences(data.variants.frame(), predictions(rows, energies.tolist()))
    )
    for line_of in (line(table, FACTOR_MEAN), line(table, MINUS_CONTROL, "other_family")):
        assert line_of["p_bootstrap"] > 0.01
        assert line_of["low"] < 0 < line_of["high"]


def test_strand_2_carries_the_mutation_too(data: JasparDataModule) -> None:
    rows = data.rows("test")
    opposite = [reverse_complement(row.parts[2][0]) for row in rows]
    assert opposite == [row.parts[1][0] for row in rows]
    energies = [
        binding_energy(find_recognition_residues(row.parts[0][0]), [strand])
        for row, strand in zip(rows, opposite, strict=True)
    ]
    table = specificity_table(differences(data.variants.frame(), predictions(rows, energies)))
    assert line(table, FACTOR_MEAN)["value"] > 0.5
