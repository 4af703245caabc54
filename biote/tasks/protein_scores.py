"""Scores of predicted numbers that know which protein a row belongs to, with their uncertainty.

Legend: N rows, P proteins, R bootstrap replicates.

Rows of one protein are not independent, so confidence intervals come from resampling proteins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from biote.tasks.bootstrap import draws, interval
from biote.tasks.correlation import SMALLEST_VARIATION

REPLICATES: Final = 2_000
"""Bootstrap replicates of a confidence interval."""

FEWEST_INPUTS: Final = 3
"""Distinct inputs that a protein needs for a rank correlation of its own."""

METRICS: Final = ("pcc", "mae", "spearman", "within_protein_spearman", "protein_macro_mae")
IN_UNITS: Final = frozenset({"mae", "protein_macro_mae"})
"""Metrics that have the unit of the targets."""

_Floats = npt.NDArray[np.float64]
_PREDICTION: Final = pl.col("prediction")
_CONSTANT: Final = (
    _PREDICTION.max() - _PREDICTION.min() <= SMALLEST_VARIATION * _PREDICTION.abs().max()
)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score with its bootstrap confidence interval over proteins."""

    value: float
    low: float
    """Lower end of the interval; NaN where none is computed."""

    high: float
    n: int
    """Rows."""

    proteins: int
    """Proteins the score is made of."""


def protein_scores(frame: pl.DataFrame, *, seed: int = 0) -> dict[str, Estimate]:
    """Score predictions.

    ``pcc``, ``spearman`` and ``mae`` are over all rows. ``protein_macro_mae`` is the mean over
    proteins of the mean absolute error of each. ``within_protein_spearman`` is the mean over
    proteins of the rank correlation inside each, over those with at least `FEWEST_INPUTS`
    distinct inputs and two distinct targets; where all predictions for a protein are the same it
    counts as 0. A correlation over all rows is NaN where predictions are the same in each fold.

    Intervals resample proteins, or clusters of similar ones where the split keeps those together.

    Args:
        frame: Columns fold, protein, input, target, prediction, and cluster where it is known; N
            rows.
        seed: Chooses the bootstrap replicates; of two models on the same rows the same proteins
            are drawn.

    Returns:
        Estimate by metric. Of ``spearman`` there is no interval.
    """
    by_protein = _per_protein(frame)
    units = by_protein.get_column("unit").rank("dense").to_numpy() - 1  # (P,)
    drawn = draws(int(units.max()) + 1, replicates=REPLICATES, seed=seed)
    weights = drawn[:, units]  # (R, P)
    sums = by_protein.select("n", "x", "y", "xx", "yy", "xy", "error").to_numpy()  # (P, 7)
    whole = np.ones((1, len(sums)))
    rows, proteins = frame.height, by_protein.height
    constant = bool(frame.group_by("fold").agg(_CONSTANT.alias("constant"))["constant"].all())

    def estimate(value: float, replicates: _Floats, count: int = proteins) -> Estimate:
        low, high = interval(replicates)
        return Estimate(value=value, low=low, high=high, n=rows, proteins=count)

    none = np.array([], np.float64)
    pcc = Estimate(value=math.nan, low=math.nan, high=math.nan, n=rows, proteins=proteins)
    spearman = pcc
    if not constant:
        pcc = estimate(float(_correlation(whole @ sums)[0]), _correlation(weights @ sums))
        ranks = frame.select(pl.corr("target", "prediction", method="spearman")).item()
        spearman = estimate(float(ranks), none)
    errors, counts = sums[:, 6], sums[:, 0]
    macro = errors / counts
    ranked = by_protein.get_column("ranked").to_numpy()
    within = by_protein.get_column("within").to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        within_replicates = (weights @ (within * ranked)) / (weights @ ranked)
        within_value = float((within * ranked).sum() / ranked.sum())
    return {
        "pcc": pcc,
        "mae": estimate(float(errors.sum() / rows), (weights @ errors) / (weights @ counts)),
        "spearman": spearman,
        "within_protein_spearman": estimate(within_value, within_replicates, int(ranked.sum())),
        "protein_macro_mae": estimate(float(macro.mean()), (weights @ macro) / weights.sum(axis=1)),
    }


def one_row_per_input(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with the same input as one row: median target, mean prediction.

    Args:
        frame: Columns fold, protein, input, target, prediction and whatever else.

    Returns:
        Columns fold, protein, input, target, prediction, and cluster where it was there.
    """
    cluster = [pl.col("cluster").first()] if "cluster" in frame.columns else []
    return frame.group_by("fold", "protein", "input", maintain_order=True).agg(
        pl.col("target").median(), pl.col("prediction").mean(), *cluster
    )


def protein_mean_oracle(frame: pl.DataFrame) -> pl.DataFrame:
    """Predict for every row the mean target of its protein, that row included.

    It has seen the answers: a model can score as high while blind to the nucleic acid.

    Args:
        frame: Columns protein, target and whatever else.
    """
    return frame.with_columns(pl.col("target").mean().over("protein").alias("prediction"))


def replicate_oracle(frame: pl.DataFrame) -> pl.DataFrame:
    """Predict for every row the mean target of the other rows of its input.

    It has seen the answers: what is left is the spread of repeated measurements.

    Args:
        frame: Columns input, target and whatever else.

    Returns:
        The rows whose input was measured more than once. Of rows that repeat a target of the same
        input only the first is there: a value copied twice into the file is one measurement.
    """
    once = frame.unique(subset=["input", "target"], keep="first", maintain_order=True)
    count, total = pl.len().over("input"), pl.col("target").sum().over("input")
    return once.filter(count > 1).with_columns(
        ((total - pl.col("target")) / (count - 1)).alias("prediction")
    )


def _per_protein(frame: pl.DataFrame) -> pl.DataFrame:
    """Sums over the rows of every protein, and its rank correlation."""
    # Around the means, so that the sums of squares lose no digits.
    x, y = (pl.col(name) - pl.col(name).mean() for name in ("target", "prediction"))
    centred = frame.with_columns(x.alias("cx"), y.alias("cy"))
    spearman = pl.corr("target", "prediction", method="spearman")
    known = "cluster" in frame.columns
    unit = pl.coalesce("cluster", "protein") if known else pl.col("protein")
    per_protein = centred.group_by("protein", maintain_order=True).agg(
        pl.len().cast(pl.Float64).alias("n"),
        unit.first().alias("unit"),
        pl.col("cx").sum().alias("x"),
        pl.col("cy").sum().alias("y"),
        (pl.col("cx") ** 2).sum().alias("xx"),
        (pl.col("cy") ** 2).sum().alias("yy"),
        (pl.col("cx") * pl.col("cy")).sum().alias("xy"),
        (pl.col("target") - pl.col("prediction")).abs().sum().alias("error"),
        (
            (pl.col("input").n_unique() >= FEWEST_INPUTS) & (pl.col("target").n_unique() > 1)
        ).cast(pl.Float64).alias("ranked"),
        pl.when(_CONSTANT)
        .then(0.0)
        .otherwise(spearman)
        .alias("within"),
    )  # fmt: skip
    # Proteins in one order whatever that of the rows: replicates then draw the same ones.
    return per_protein.with_columns(pl.col("within").fill_nan(0.0).fill_null(0.0)).sort("protein")


def _correlation(sums: _Floats) -> _Floats:
    """Pearson correlation from sums of n, x, y, xx, yy, xy, ... in columns, (R,)."""
    n, x, y, xx, yy, xy = (sums[:, i] for i in range(6))
    covariance = xy - x * y / n
    variances = np.maximum(xx - x * x / n, 0.0) * np.maximum(yy - y * y / n, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: _Floats = covariance / np.sqrt(variances)
    return correlations
