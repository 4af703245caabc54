from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from biote.tasks.paired_residues import CHANCE_MODEL, paired_scores, table_of, weighted_scores


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40
    )
)
@settings(max_examples=60, deadline=None)
def test_weighted_scores_are_those_of_repeated_residues(
    residues: list[tuple[int, bool, int]],
) -> None:
    # Predictions of few values: ties are what BPE tokens make.
    predictions, labels, weights = (
        np.array(column, np.float64) for column in zip(*residues, strict=True)
    )
    predictions /= 6
    found = weighted_scores(predictions, labels, weights[None])
    times = weights.astype(int)
    truth, score = np.repeat(labels, times).astype(int), np.repeat(predictions, times)
    if not len(truth):
        return
    assert found["f1"][0] == pytest.approx(sk.f1_score(truth, score > 0.5, zero_division=0))
    if truth.any():
        assert found["auprc"][0] == pytest.approx(sk.average_precision_score(truth, score))
        chance = sk.f1_score(truth, np.ones_like(truth))
        assert found["chance_f1"][0] == pytest.approx(chance)
    if 0 < truth.mean() < 1:
        assert found["auroc"][0] == pytest.approx(sk.roc_auc_score(truth, score))
    else:
        assert math.isnan(found["auroc"][0])


def residues_of(noise: float, *, seed: int | None = None, rows: int = 20) -> pl.DataFrame:
    """Residues of two labels; the more noise, the less the predictions say."""
    truth = np.random.default_rng(0).integers(0, 2, (rows, 30, 2))
    rng = np.random.default_rng(1 if seed is None else 2 + seed)
    score = np.clip(0.5 + (truth - 0.5) * 0.4 + rng.normal(0, noise, truth.shape), 0, 1)
    places = np.indices(truth.shape).reshape(3, -1)
    return pl.DataFrame(
        {
            "seed": pl.Series([seed] * truth.size, dtype=pl.Int64),
            "fold": places[0] % 4,
            "row_id": [f"r{i:02d}" for i in places[0]],
            "position": places[1],
            "output": places[2],
            "target": truth.ravel().astype(np.float64),
            "prediction": score.ravel(),
        }
    )


UNITS = {f"r{i:02d}": f"c{i // 2}" for i in range(20)}


def test_differences_are_paired() -> None:
    good, bad = residues_of(0.15), residues_of(0.6)
    table = table_of(
        paired_scores(
            {"base": bad, "same": bad.sample(fraction=1.0, shuffle=True, seed=0), "tuned": good},
            base="base", labels=["8A", "4A"], unit_of=UNITS, rows="all",
        )
    )  # fmt: skip
    assert set(table["units"]) == {10}
    assert set(table["complexes"]) == {20}
    assert set(table["residues"]) == {600}
    of = {
        (line["model"], line["minus"], line["label"], line["metric"]): line
        for line in table.iter_rows(named=True)
    }
    for output, label in enumerate(("8A", "4A")):
        for metric in ("f1", "auroc", "auprc"):
            same, tuned = of["same", "base", label, metric], of["tuned", "base", label, metric]
            # The order of residues is no difference, and neither is what all models share.
            for name in ("value", "low", "high", "fold_mean", "fold_low", "fold_high"):
                assert same[name] == pytest.approx(0, abs=1e-12)
            both = [of[name, None, label, metric] for name in ("tuned", "base")]
            assert tuned["value"] == pytest.approx(both[0]["value"] - both[1]["value"])
            assert 0 < tuned["low"] < tuned["value"] < tuned["high"]
            assert 0 < tuned["fold_low"] < tuned["fold_mean"] < tuned["fold_high"]
            # Narrower than if the two were drawn apart.
            widths = [line["high"] - line["low"] for line in both]
            assert tuned["high"] - tuned["low"] < sum(widths)
        own = good.filter(pl.col("output") == output)
        truth = own["target"].to_numpy().astype(int)
        line = of["tuned", None, label, "auroc"]
        assert line["value"] == pytest.approx(sk.roc_auc_score(truth, own["prediction"]))
        folds = [
            sk.roc_auc_score(part["target"].to_numpy().astype(int), part["prediction"])
            for _, part in own.group_by("fold")
        ]
        assert line["fold_mean"] == pytest.approx(np.mean(folds))
        assert line["fold_error"] == pytest.approx(np.std(folds, ddof=1) / 2)
        chance = of[CHANCE_MODEL, None, label, "f1"]
        assert chance["value"] == pytest.approx(2 * truth.mean() / (1 + truth.mean()))


def test_seeds_are_averaged_as_scores() -> None:
    seeds = [residues_of(0.5, seed=seed) for seed in (0, 1)]
    unit = {"base": "a", "labels": ["8A", "4A"], "unit_of": UNITS, "rows": "all"}
    alone = [table_of(paired_scores({"a": one}, **unit)) for one in seeds]  # type: ignore[arg-type]
    both = table_of(paired_scores({"a": pl.concat(seeds)}, **unit))  # type: ignore[arg-type]
    mean = (alone[0]["value"] + alone[1]["value"]) / 2
    np.testing.assert_allclose(both["value"], mean)
    assert both["residues"].equals(alone[0]["residues"])


def test_whole_clusters_are_drawn() -> None:
    # All residues of a cluster alike: drawn one by one they would seem far more certain.
    frame = residues_of(0.5)
    one = {row: "all" for row in UNITS}
    lines = paired_scores({"a": frame}, base="a", labels=["8A", "4A"], unit_of=one, rows="all")
    for line in lines:  # a single cluster is drawn once in every replicate
        assert line.low == pytest.approx(line.value)
        assert line.high == pytest.approx(line.value)


def test_the_mean_over_folds_does_not_compare_models_of_different_folds() -> None:
    # The same ranks, but the model of every other fold is sure of everything.
    frame = residues_of(0.2)
    moved = frame.with_columns(
        pl.when(pl.col("fold") % 2 == 0).then(0.9 + pl.col("prediction") / 10)
        .otherwise(pl.col("prediction") / 10).alias("prediction")
    )  # fmt: skip
    lines = paired_scores(
        {"base": frame, "moved": moved}, base="base", labels=["8A", "4A"], unit_of=UNITS, rows="all"
    )
    for line in lines:
        if line.minus is not None and line.metric == "auroc":
            assert (line.fold_low, line.fold_high) == pytest.approx((0, 0), abs=1e-9)
            assert line.high < 0  # pooled, it is worse
