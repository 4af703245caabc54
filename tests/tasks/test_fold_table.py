from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from biote.errors import DataError
from biote.tasks.fold_table import (
    AGREEING,
    ALL_ROWS,
    FOLD,
    MEAN,
    ONE_PER_INPUT,
    POOLED,
    PROTEIN_ORACLE,
    REPLICATE_ORACLE,
    check_partition,
    number_scores,
    table_of,
    with_ensembles,
    with_oracles,
)


def facts(folds: int = 2) -> pl.DataFrame:
    """Six rows of three groups in folds, as every fold tells of them."""
    frames = []
    for fold in range(folds):
        groups = [i // 2 for i in range(6)]
        frames.append(
            pl.DataFrame(
                {
                    "fold": [fold] * 6,
                    "row_id": [f"r{i}" for i in range(6)],
                    "group": [f"g{g}" for g in groups],
                    "split": ["test" if g % folds == fold else "train" for g in groups],
                }
            )
        )
    return pl.concat(frames)


def predictions(seeds: tuple[int | None, ...]) -> pl.DataFrame:
    """Twelve rows in two folds, predicted with every seed."""
    frames = []
    for seed in seeds:
        rng = np.random.default_rng(seed or 0)
        frames.append(
            pl.DataFrame(
                {
                    "model": ["m"] * 12,
                    "head": ["h"] * 12,
                    "split": ["test"] * 12,
                    "seed": pl.Series([seed] * 12, dtype=pl.Int64),
                    "fold": [i // 6 for i in range(12)],
                    "row_id": [f"r{i}" for i in range(12)],
                    "protein": [f"p{i // 3}" for i in range(12)],
                    "input": [f"i{i // 3}-{i % 3 // 2}" for i in range(12)],
                    "target": np.arange(12.0) - 12,
                    "prediction": np.arange(12.0) - 12 + rng.normal(0, 2, 12),
                    "kd_disagreement_kcal_mol": [None, 2.0, *[0.5] * 10],
                }
            )
        )
    return pl.concat(frames)


def test_a_partition_is_accepted_and_anything_else_refused() -> None:
    # REFERENCE 6, 1: folds that are reshuffled each time are no partition.
    whole = facts()
    assert check_partition(whole, whole=True) == 0
    assert check_partition(facts(3).filter(pl.col("fold") < 2), whole=False) == 0
    with pytest.raises(DataError, match="2 rows are tested in no fold"):
        check_partition(facts(3).filter(pl.col("fold") < 2), whole=True)
    # Rows that the rule holds in training are tested nowhere, and no others may be.
    held = facts(3).filter(pl.col("fold") < 2)
    lost = held.with_columns(
        pl.when((pl.col("fold") == 0) & (pl.col("split") == "train"))
        .then(pl.lit("validation"))
        .otherwise("split")
        .alias("split")
    )
    assert check_partition(held, whole=True, holds=True) == 2
    with pytest.raises(DataError, match="2 rows are tested in no fold"):
        check_partition(lost, whole=True, holds=True)
    second_tests = (pl.col("fold") == 1) & (pl.col("group") == "g0")
    twice = whole.with_columns(
        pl.when(second_tests).then(pl.lit("test")).otherwise("split").alias("split")
    )
    with pytest.raises(DataError, match="row r0 is tested in more than one fold"):
        check_partition(twice, whole=True)
    leaked = whole.with_columns(
        pl.when(pl.col("row_id") == "r2").then(pl.lit("g0")).otherwise("group").alias("group")
    )
    with pytest.raises(DataError, match="group g0 stands on two sides in fold 0"):
        check_partition(leaked, whole=True)
    other = whole.filter(~((pl.col("fold") == 1) & (pl.col("row_id") == "r2")))
    with pytest.raises(DataError, match="run on different rows"):
        check_partition(other, whole=True)


def test_mean_and_error_are_over_folds_and_pooled_is_over_rows() -> None:
    table = table_of(number_scores(predictions((None,)), unit="kcal/mol"))
    for metric in ("pcc", "mae"):
        part = table.filter((pl.col("metric") == metric) & (pl.col("rows") == ALL_ROWS))
        values = part.filter(pl.col("statistic") == FOLD).sort("fold")
        assert values["fold"].to_list() == [0, 1]
        mean = part.filter(pl.col("statistic") == MEAN).row(0, named=True)
        a, b = values["value"]
        assert mean["value"] == pytest.approx((a + b) / 2)
        assert mean["error"] == pytest.approx(abs(a - b) / 2)  # s.d. / sqrt(2)
        assert mean["n"] == 12
        pooled = part.filter(pl.col("statistic") == POOLED).row(0, named=True)
        frame = predictions((None,))
        x, y = frame["target"].to_numpy(), frame["prediction"].to_numpy()
        expected = {"pcc": np.corrcoef(x, y)[0, 1], "mae": np.abs(x - y).mean()}[metric]
        assert pooled["value"] == pytest.approx(expected)
        assert pooled["low"] < expected < pooled["high"]
        assert pooled["unit"] == ("kcal/mol" if metric == "mae" else "")


def test_duplicates_and_contradicted_rows_are_scored_apart() -> None:
    table = table_of(number_scores(predictions((None,)), unit=""))
    pooled = table.filter((pl.col("metric") == "mae") & (pl.col("statistic") == POOLED))
    counts = dict(pooled.select("rows", "n").iter_rows())
    # A row without Kd contradicts nothing and stays.
    assert counts == {ALL_ROWS: 12, ONE_PER_INPUT: 8, AGREEING: 11}


def test_seeds_are_averaged_row_by_row() -> None:
    both = predictions((0, 1))
    joined = with_ensembles(both)
    mean = joined.filter(pl.col("seed").is_null()).sort("row_id")
    assert mean["model"].unique().to_list() == ["m, mean of 2 seeds"]
    halves = [both.filter(pl.col("seed") == s).sort("row_id")["prediction"] for s in (0, 1)]
    np.testing.assert_allclose(mean["prediction"], (halves[0] + halves[1]) / 2)
    np.testing.assert_allclose(
        mean["target"], both.filter(pl.col("seed") == 0).sort("row_id")["target"]
    )
    assert with_ensembles(predictions((None,))).height == 12
    with pytest.raises(DataError, match="not every row was predicted with every seed"):
        with_ensembles(both.slice(1))


def test_oracles_see_every_row_once_however_many_models_there_are() -> None:
    joined = with_oracles(with_ensembles(predictions((0, 1))))
    protein = joined.filter(pl.col("model") == PROTEIN_ORACLE)
    assert sorted(protein["row_id"]) == sorted(f"r{i}" for i in range(12))
    first = protein.filter(pl.col("row_id") == "r0").row(0, named=True)
    assert first["prediction"] == pytest.approx(-11.0)
    replicate = joined.filter(pl.col("model") == REPLICATE_ORACLE)
    assert replicate.height == 8
    assert not math.isnan(replicate["prediction"].sum())
