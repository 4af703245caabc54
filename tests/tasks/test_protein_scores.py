from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from biote.tasks.protein_scores import (
    FEWEST_INPUTS,
    METRICS,
    one_row_per_input,
    protein_mean_oracle,
    protein_scores,
    replicate_oracle,
)


def rows(seed: int = 0, *, proteins: int = 30, per_protein: int = 8) -> pl.DataFrame:
    """Targets with a mean for every protein, and predictions that follow them in part."""
    rng = np.random.default_rng(seed)
    protein = np.repeat(np.arange(proteins), per_protein)
    n = len(protein)
    target = rng.normal(-9, 2, proteins)[protein] + rng.normal(0, 1, n)
    return pl.DataFrame(
        {
            "fold": protein % 3,
            "protein": [f"p{p}" for p in protein],
            "input": [f"{p}-{i // 2}" for i, p in enumerate(protein)],
            "target": target,
            "prediction": 0.5 * target + rng.normal(0, 1, n),
        }
    )


def test_scores_are_those_of_an_independent_computation() -> None:
    frame = rows()
    scores = protein_scores(frame)
    x, y = frame["target"].to_numpy(), frame["prediction"].to_numpy()
    parts = [part for _, part in frame.group_by("protein")]
    within = [stats.spearmanr(p["target"], p["prediction"]).statistic for p in parts]
    macro = [float((p["target"] - p["prediction"]).abs().mean()) for p in parts]  # type: ignore[arg-type]
    expected = {
        "pcc": stats.pearsonr(x, y).statistic,
        "mae": np.abs(x - y).mean(),
        "spearman": stats.spearmanr(x, y).statistic,
        "within_protein_spearman": np.mean(within),
        "protein_macro_mae": np.mean(macro),
    }
    assert set(scores) == set(METRICS) == set(expected)
    for metric, value in expected.items():
        assert scores[metric].value == pytest.approx(value, abs=1e-12), metric
        assert (scores[metric].n, scores[metric].proteins) == (240, 30)


def test_intervals_come_from_whole_proteins() -> None:
    # Eight copies of each protein's row say no more than one: the interval must not shrink.
    once = rows(per_protein=1).with_columns(pl.col("protein").alias("input"))
    copied = pl.concat([once] * 8)
    for metric in ("pcc", "mae"):
        one, many = protein_scores(once)[metric], protein_scores(copied)[metric]
        assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=1e-9)
        assert one.low < one.value < one.high
    # An independent bootstrap of the correlation, protein by protein.
    frame, rng = rows(3), np.random.default_rng(1)
    parts = [
        part.select("target", "prediction").to_numpy() for _, part in frame.group_by("protein")
    ]
    drawn = [np.concatenate([parts[i] for i in rng.integers(30, size=30)]) for _ in range(2_000)]
    low, high = np.quantile([np.corrcoef(d.T)[0, 1] for d in drawn], [0.025, 0.975])
    found = protein_scores(frame)["pcc"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    frame = rows(5)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    for metric, found in protein_scores(shuffled).items():
        expected = protein_scores(frame)[metric]
        assert found.value == pytest.approx(expected.value, abs=1e-9)
        if metric != "spearman":
            assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_what_ranks_nothing_inside_a_protein_scores_zero_there() -> None:
    # The protein mean is right about proteins and blind to the nucleic acid.
    frame = protein_mean_oracle(rows())
    scores = protein_scores(frame)
    assert scores["pcc"].value > 0.7
    assert scores["within_protein_spearman"].value == 0
    few = rows(per_protein=2 * (FEWEST_INPUTS - 1))
    nothing = protein_scores(few)["within_protein_spearman"]
    assert nothing.proteins == 0
    assert math.isnan(nothing.value)


def test_the_train_mean_of_every_fold_has_no_correlation() -> None:
    # Pooled over folds it would have one, below zero: a fold of high values leaves a low mean.
    means = pl.DataFrame({"fold": [0, 1, 2], "prediction": [-8.0, -9.0, -10.0]})
    frame = rows().drop("prediction").join(means, on="fold")
    scores = protein_scores(frame)
    assert math.isnan(scores["pcc"].value)
    assert math.isnan(scores["spearman"].value)
    assert scores["mae"].value > 0


def test_one_row_per_input_takes_the_median_target() -> None:
    frame = pl.DataFrame(
        {
            "fold": [0] * 4,
            "protein": ["a"] * 4,
            "input": ["x", "x", "x", "y"],
            "target": [-9.0, -8.0, -1.0, -5.0],
            "prediction": [-6.0, -6.0, -6.0, -4.0],
        }
    )
    once = one_row_per_input(frame)
    assert once.select("input", "target", "prediction").rows() == [
        ("x", -8.0, -6.0),
        ("y", -5.0, -4.0),
    ]


def test_the_replicate_oracle_leaves_its_own_row_out() -> None:
    frame = pl.DataFrame(
        {
            "input": ["x", "x", "x", "x", "y", "z", "z"],
            "target": [1.0, 2.0, 6.0, 6.0, 5.0, 3.0, 3.0],
        }
    )
    found = replicate_oracle(frame)
    # The copied 6 is one measurement, and so is the copied 3, which leaves z without a second.
    assert found["target"].to_list() == [1.0, 2.0, 6.0]
    assert found["prediction"].to_list() == [4.0, 3.5, 1.5]


def test_intervals_resample_clusters_where_they_are_known() -> None:
    rng = np.random.default_rng(0)
    proteins = np.repeat(np.arange(40), 5)
    shared = rng.normal(0, 3, 8)[proteins // 5]  # proteins of a cluster are wrong together
    frame = pl.DataFrame(
        {
            "fold": proteins // 20,
            "protein": [f"p{i}" for i in proteins],
            "cluster": [f"c{i // 5}" for i in proteins],
            "input": [f"i{i}" for i in range(200)],
            "target": rng.normal(0, 1, 200),
            "prediction": shared + rng.normal(0, 1, 200),
        }
    )
    with_clusters = protein_scores(frame)["mae"]
    without = protein_scores(frame.drop("cluster"))["mae"]
    assert with_clusters.value == without.value
    assert with_clusters.high - with_clusters.low > 1.5 * (without.high - without.low)
    unknown = frame.with_columns(pl.lit(None, pl.String).alias("cluster"))
    assert protein_scores(unknown)["mae"] == without
