"""Whether mutating a site weakens its predicted binding: statistics over factors and fold models.

Delta-Delta-G is the predicted Delta G of a mutant minus that of its consensus, so it is positive
where the mutant binds less. The unit of statistics is the factor: a protein's value is the mean
over its mutants (and over fold models), and factors of one family are resampled together, because
they are relatives with similar sites. Fold models are no independent samples of anything but
training sets; the mean and standard error over them is what the paper gives.

Legend: N mutants, P proteins, F families, R bootstrap replicates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from biote.errors import DataError
from biote.tasks.bootstrap import draws, interval

Floats = npt.NDArray[np.float64]

REPLICATES: Final = 10_000
"""Bootstrap replicates of families."""

MATCHED: Final = "matched"
ALL_MUTANTS: Final = "all"

STRATA_BITS: Final = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Borders of the strata of a mutant's mean information at its changed positions."""

FOLD: Final = "fold"
FOLD_MEAN: Final = "mean over folds"
FACTOR_MEAN: Final = "mean over factors"
SHARE_POSITIVE: Final = "share of factors above 0"
MINUS_CONTROL: Final = "difference from control"
SPEARMAN: Final = "Spearman with log-odds lost"
WITHIN_SPEARMAN: Final = "Spearman within factors"

_FEWEST_MUTANTS: Final = 3
_ROUNDING_KCAL_MOL: Final = 1e-9
"""Of predictions in double precision, those of k-mer models."""
_MOST_ENUMERATED: Final = 12  # families


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table."""

    model: str
    control: str
    """``matched``, or the name of a negative control."""

    probability: float
    """Probability of each base to be replaced."""

    stratum: str
    """``all``, or information of the changed positions in bits, ``0.5-1.0`` say."""

    statistic: str
    value: float
    unit: str
    error: float = math.nan
    """Standard error over folds."""

    low: float = math.nan
    """Lower end of the 95 % interval, families resampled."""

    high: float = math.nan
    p_bootstrap: float = math.nan
    """One-sided: share of replicates at or below 0. Too small where families are few."""

    p_sign_flip: float = math.nan
    """One-sided: whole families change sign at random; with F families at least 2 ** -F."""

    p_wilcoxon: float = math.nan
    """One-sided signed-rank test over factors, normal approximation; takes them as independent."""

    fold: int | None = None
    folds: int
    factors: int
    families: int
    mutants: int


_SCHEMA: Final = {
    "model": pl.String, "control": pl.String, "probability": pl.Float64, "stratum": pl.String,
    "statistic": pl.String, "value": pl.Float64, "unit": pl.String, "error": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "p_bootstrap": pl.Float64, "p_sign_flip": pl.Float64,
    "p_wilcoxon": pl.Float64,
    "fold": pl.Int64, "folds": pl.Int64, "factors": pl.Int64, "families": pl.Int64,
    "mutants": pl.Int64,
}  # fmt: skip


def differences(variants: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Delta-Delta-G of every mutant by every model and fold.

    Args:
        variants: Columns row_id, reference_id, control, protein, family, profile, probability
            (null of a consensus), log_odds_change_bits, information_bits.
        predictions: Columns model, fold, row_id, prediction, in kcal/mol.

    Returns:
        The columns of ``variants`` with model, fold and ``ddg_kcal_mol``, a line for each mutant.

    Raises:
        DataError: If a row was not predicted exactly once by each model and fold.
    """
    predicted = predictions.select("model", "fold", "row_id", "prediction")
    for key, frame in predicted.group_by("model", "fold", maintain_order=True):
        ids = frame.get_column("row_id")
        if ids.n_unique() != len(ids) or set(ids) != set(variants.get_column("row_id")):
            raise DataError(
                f"model {key[0]!r}, fold {key[1]} did not predict each row once",
                where="specificity",
                mend="test every fold with the same data settings",
            )
        if not frame.get_column("prediction").is_finite().all():
            raise DataError(f"model {key[0]!r}, fold {key[1]} predicts no number",
                            where="specificity")  # fmt: skip
    mutants = variants.filter(pl.col("probability").is_not_null())
    references = predicted.rename({"row_id": "reference_id", "prediction": "reference"})
    return (
        mutants.join(predicted, on="row_id", how="inner", maintain_order="left")
        .join(references, on=["model", "fold", "reference_id"], how="inner", maintain_order="left",
              nulls_equal=True)
        .with_columns((pl.col("prediction") - pl.col("reference")).alias("ddg_kcal_mol"))
        .drop("prediction", "reference")
    )  # fmt: skip


def specificity_table(ddg: pl.DataFrame, *, unit: str = "kcal/mol", seed: int = 0) -> pl.DataFrame:
    """All statistics of all models.

    Args:
        ddg: What `differences` gives.
        unit: Unit of Delta-Delta-G.
        seed: Chooses bootstrap replicates; of two models the same families are drawn.

    Returns:
        A table with the columns of `Line`.
    """
    lines: list[Line] = []
    key: Any  # polars types the values of a group's key as objects
    for key, frame in ddg.group_by("model", "probability", maintain_order=True):
        named = _Named(model=key[0], probability=key[1], unit=unit, seed=seed)
        of_control: dict[str, pl.DataFrame] = {
            str(control): part
            for (control,), part in frame.group_by("control", maintain_order=True)
        }
        for control, part in of_control.items():
            for stratum, mutants in _strata(part):
                lines += _mean_lines(mutants, named, control=control, stratum=stratum)
        if MATCHED in of_control:
            matched = of_control.pop(MATCHED)
            lines += [_paired_line(matched, part, named, c) for c, part in of_control.items()]
    return pl.DataFrame([asdict(line) for line in lines], schema=_SCHEMA)


def factor_means(ddg: pl.DataFrame) -> pl.DataFrame:
    """Mean Delta-Delta-G of every protein, over its profiles, mutants and fold models.

    Args:
        ddg: Mutants of one model and probability, with repeats over folds.

    Returns:
        Columns protein, family, ddg_kcal_mol; sorted by protein.
    """
    return (
        ddg.group_by("protein")
        .agg(pl.col("family").min(), pl.col("ddg_kcal_mol").mean())
        .sort("protein")
    )


def family_bootstrap(
    values: Floats, families: npt.NDArray[np.str_] | list[str], *, seed: int = 0
) -> Floats:
    """Means over factors when whole families are drawn with replacement.

    Args:
        values: One number for each factor, (P,).
        families: Family of each, P of them.
        seed: Chooses what is drawn.

    Returns:
        Bootstrap means, (R,).
    """
    names, index = np.unique(np.asarray(families), return_inverse=True)
    sums = np.bincount(index, values, minlength=len(names))  # (F,)
    counts = np.bincount(index, minlength=len(names))  # (F,)
    drawn = draws(len(names), replicates=REPLICATES, seed=seed)
    means: Floats = (drawn @ sums) / (drawn @ counts)
    return means


def bootstrap_p(replicates: Floats) -> float:
    """One-sided p that the mean is above 0: replicates at or below it, one added to either side.

    Args:
        replicates: Bootstrap means, (R,).
    """
    return float((1 + (replicates <= 0).sum()) / (1 + len(replicates)))


def sign_flip_p(
    values: Floats, families: npt.NDArray[np.str_] | list[str], *, seed: int = 0
) -> float:
    """One-sided p that the mean is above 0, by changing the signs of whole families.

    Of few families all changes of sign are tried, of many some at random.

    Args:
        values: One number for each factor, (P,).
        families: Family of each, P of them.
        seed: Chooses the changes.
    """
    names, index = np.unique(np.asarray(families), return_inverse=True)
    sums = np.bincount(index, values, minlength=len(names))  # (F,)
    exact = len(names) <= _MOST_ENUMERATED
    if exact:
        codes = np.arange(2 ** len(names))[:, None] >> np.arange(len(names))
        signs = 1 - 2 * (codes & 1)  # (2 ** F, F), the first of them all +1
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], (REPLICATES, len(names)))
    tolerance = 1e-12 * float(np.abs(sums).sum())
    as_large = int((signs @ sums >= sums.sum() - tolerance).sum())
    return as_large / len(signs) if exact else (1 + as_large) / (1 + len(signs))


def wilcoxon_greater(values: Floats) -> float:
    """One-sided p of the signed-rank test that values are above 0.

    Zeros are left out, ties share their mean rank, the normal approximation is corrected for
    ties and not for continuity.

    Args:
        values: One number for each factor, (P,).

    Returns:
        p; 1 where all are 0.
    """
    nonzero = values[values != 0]
    if not len(nonzero):
        return 1.0
    ranks = mean_ranks(np.abs(nonzero))
    n = len(nonzero)
    _, ties = np.unique(np.abs(nonzero), return_counts=True)
    expected = n * (n + 1) / 4
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    z = (float(ranks[nonzero > 0].sum()) - expected) / math.sqrt(variance)
    return 0.5 * math.erfc(z / math.sqrt(2))


def mean_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs.

    Args:
        values: Numbers, (N,).
    """
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[index]
    return ranks


def spearman(x: Floats, y: Floats) -> float:
    """Rank correlation; NaN where either is constant.

    Args:
        x: Numbers, (N,).
        y: As many.
    """
    a, b = mean_ranks(x), mean_ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else math.nan


def _strata(ddg: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """All mutants, then those of each stratum that has any."""
    yield ALL_MUTANTS, ddg
    for low, high in pairwise(STRATA_BITS):
        inside = pl.col("information_bits") >= low
        last = high == STRATA_BITS[-1]
        inside &= pl.col("information_bits") <= high if last else pl.col("information_bits") < high
        part = ddg.filter(inside)
        if part.height:
            yield f"{low:.1f}-{high:.1f}", part


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What all lines of a model and probability share."""

    model: str
    probability: float
    unit: str
    seed: int


def _mean_lines(ddg: pl.DataFrame, named: _Named, *, control: str, stratum: str) -> Iterator[Line]:
    factors = factor_means(ddg)
    values = factors.get_column("ddg_kcal_mol").to_numpy()
    families = factors.get_column("family").to_list()
    of_fold = _fold_means(ddg)
    line = _Lines(
        {
            "model": named.model, "control": control, "probability": named.probability,
            "stratum": stratum, "unit": named.unit, "folds": len(of_fold), "factors": len(values),
            "families": len(set(families)), "mutants": ddg.get_column("row_id").n_unique(),
        }
    )  # fmt: skip

    if stratum == ALL_MUTANTS:
        for fold, mean in of_fold.items():
            yield line(FOLD, mean, fold=fold)
    means = np.array(list(of_fold.values()))
    error = means.std(ddof=1) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    yield line(FOLD_MEAN, float(means.mean()), error=float(error))
    yield line(FACTOR_MEAN, float(values.mean()), **_tests(values, families, named.seed))
    if stratum != ALL_MUTANTS:
        return
    yield line(SHARE_POSITIVE, float((values > 0).mean()), unit="")
    yield from _rank_lines(ddg, line, named.seed)


class _Lines:
    """Makes lines that have much in common."""

    def __init__(self, common: dict[str, Any]) -> None:
        self._common = common

    def __call__(self, statistic: str, value: float, **more: Any) -> Line:
        return Line(**{**self._common, "statistic": statistic, "value": value, **more})


def _rank_lines(ddg: pl.DataFrame, line: _Lines, seed: int) -> Iterator[Line]:
    """Rank correlations of Delta-Delta-G with the log-odds that a mutant loses."""
    mutants = ddg.group_by("row_id").agg(
        pl.col("protein", "family", "log_odds_change_bits").first(),
        pl.col("ddg_kcal_mol").mean(),
    ).sort("row_id")  # fmt: skip
    lost = -mutants.get_column("log_odds_change_bits").to_numpy()
    yield line(SPEARMAN, spearman(lost, mutants.get_column("ddg_kcal_mol").to_numpy()), unit="")
    within: list[float] = []
    families: list[str] = []
    for _, part in mutants.group_by("protein", maintain_order=True):
        x = -part.get_column("log_odds_change_bits").to_numpy()
        y = part.get_column("ddg_kcal_mol").to_numpy()
        if len(x) < _FEWEST_MUTANTS or len(set(x.tolist())) < 2:
            continue
        value = spearman(x, y)
        within.append(0.0 if math.isnan(value) else value)  # a blind model ranks nothing
        families.append(part.item(0, "family"))
    if within:
        values = np.array(within)
        yield line(
            WITHIN_SPEARMAN, float(values.mean()), unit="", factors=len(values),
            families=len(set(families)), **_tests(values, families, seed),
        )  # fmt: skip


def _paired_line(
    matched: pl.DataFrame, control_ddg: pl.DataFrame, named: _Named, control: str
) -> Line:
    """The mean over factors of what a factor's own site gives beyond the control."""
    other = factor_means(control_ddg).select("protein", pl.col("ddg_kcal_mol").alias("control_ddg"))
    pairs = factor_means(matched).join(other, on="protein", how="inner").sort("protein")
    values = (pairs.get_column("ddg_kcal_mol") - pairs.get_column("control_ddg")).to_numpy()
    # A model that adds up protein and strands gives two proteins the same: no ranks in rounding.
    values = np.where(np.abs(values) < _ROUNDING_KCAL_MOL, 0.0, values)
    families = pairs.get_column("family").to_list()
    line = _Lines(
        {
            "model": named.model, "control": control, "probability": named.probability,
            "stratum": ALL_MUTANTS, "unit": named.unit,
            "folds": matched.get_column("fold").n_unique(), "factors": len(values),
            "families": len(set(families)),
            "mutants": control_ddg.get_column("row_id").n_unique(),
        }
    )  # fmt: skip
    return line(MINUS_CONTROL, float(values.mean()), **_tests(values, families, named.seed))


def _tests(values: Floats, families: list[str], seed: int) -> dict[str, float]:
    replicates = family_bootstrap(values, families, seed=seed)
    low, high = interval(replicates)
    return {
        "low": low,
        "high": high,
        "p_bootstrap": bootstrap_p(replicates),
        "p_sign_flip": sign_flip_p(values, families, seed=seed),
        "p_wilcoxon": wilcoxon_greater(values),
    }


def _fold_means(ddg: pl.DataFrame) -> dict[int | None, float]:
    """Mean over factors of every fold model."""
    means = (
        ddg.group_by("fold", "protein")
        .agg(pl.col("ddg_kcal_mol").mean())
        .group_by("fold")
        .agg(pl.col("ddg_kcal_mol").mean())
        .sort("fold")
    )
    return dict(means.iter_rows())
