"""The table of a cross-validation: every score per fold, their mean, and pooled over folds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from biote.errors import DataError
from biote.tasks.protein_scores import (
    IN_UNITS,
    METRICS,
    Estimate,
    one_row_per_input,
    protein_mean_oracle,
    protein_scores,
    replicate_oracle,
)

ALL_ROWS: Final = "all rows"
ONE_PER_INPUT: Final = "one row per input"
AGREEING: Final = "Kd agrees"
REPLICATES: Final = "repeated inputs"
FOLD: Final = "fold"
MEAN: Final = "mean over folds"
POOLED: Final = "pooled"
PROTEIN_ORACLE: Final = "oracle: protein mean"
REPLICATE_ORACLE: Final = "oracle: other replicates"

LARGEST_DISAGREEMENT_KCAL_MOL: Final = 1.0
"""Beyond it, Delta G and RT ln Kd of a row contradict each other."""

_KEYS: Final = ["model", "head", "split", "seed"]


@dataclass(frozen=True, kw_only=True)
class JoinedScore:
    """One line of the table."""

    model: str
    head: str
    split: str
    """Rows that were tested, with what was changed in them."""

    seed: int | None
    """Null where there is none, or where predictions are the mean over seeds."""

    rows: str
    """Which of the rows were scored."""

    metric: str
    statistic: str
    """``fold``, ``mean over folds`` (± standard error) or ``pooled`` over the rows of all."""

    fold: int | None
    value: float
    error: float
    """Standard error over folds; NaN elsewhere."""

    low: float
    """Lower end of the 95 % interval from resampling proteins; NaN where there is none."""

    high: float
    n: int
    proteins: int | None
    unit: str


SCHEMA: Final = {
    "model": pl.String,
    "head": pl.String,
    "split": pl.String,
    "seed": pl.Int64,
    "rows": pl.String,
    "metric": pl.String,
    "statistic": pl.String,
    "fold": pl.Int64,
    "value": pl.Float64,
    "error": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "proteins": pl.Int64,
    "unit": pl.String,
}


def check_partition(facts: pl.DataFrame, *, whole: bool, holds: bool = False) -> int:
    """Refuse folds that are no partition of the rows by group.

    Args:
        facts: Columns fold, row_id, split, group of all rows, once for each fold.
        whole: Whether all folds are there, so that every row is tested once.
        holds: Whether the rule of the split holds some rows in training in every fold.

    Returns:
        How many rows are held in training; 0 where not all folds are there.

    Raises:
        DataError: If folds differ in their rows, a row is tested in two folds or in none, or a
            group is tested in a fold that has it elsewhere, too.
    """
    rows = facts.group_by("fold").agg(pl.col("row_id").sort().hash().sum()).get_column("row_id")
    if rows.n_unique() > 1:
        raise DataError(
            "the folds were run on different rows",
            where="cross-validation",
            mend="run all folds with the same data settings",
        )
    tested = facts.filter(pl.col("split") == "test")
    twice = tested.filter(pl.col("row_id").is_duplicated())
    if twice.height:
        raise DataError(
            f"row {twice.item(0, 'row_id')} is tested in more than one fold",
            where="cross-validation",
            mend="run all folds with the same fold file",
        )
    untested = facts.join(tested.select("row_id"), on="row_id", how="anti")
    missing = untested if not holds else untested.filter(pl.col("split") != "train")
    if whole and missing.height:
        raise DataError(
            f"{missing.get_column('row_id').n_unique()} rows are tested in no fold",
            where="cross-validation",
            mend="run all folds with the same fold file",
        )
    sides = facts.group_by("fold", "group").agg(pl.col("split").n_unique())
    leaked = sides.filter(pl.col("split") > 1).sort("fold", "group")
    if leaked.height:
        fold, group = leaked.row(0)[:2]
        raise DataError(
            f"group {group} stands on two sides in fold {fold}",
            where="cross-validation",
            mend="delete the fold file and run the folds anew",
        )
    return untested.get_column("row_id").n_unique() if whole else 0


def with_ensembles(predictions: pl.DataFrame) -> pl.DataFrame:
    """Add the mean prediction over seeds of the same fold as a model of its own.

    Args:
        predictions: Columns model, head, split, seed, fold, row_id, target, prediction, ...

    Returns:
        The same with rows of null seed for models that were run with several.
    """
    seeds = predictions.get_column("seed").n_unique()
    if seeds < 2:
        return predictions
    keys = ["model", "head", "split", "fold", "row_id"]
    mean = predictions.group_by(keys, maintain_order=True).agg(
        pl.col("prediction").mean(),
        pl.all().exclude("prediction", *keys).first(),
        pl.len().alias("members"),
    )
    if mean.filter(pl.col("members") != seeds).height:
        raise DataError(
            "not every row was predicted with every seed",
            where="cross-validation",
            mend="run all folds with the same seeds",
        )
    mean = mean.drop("members").with_columns(
        pl.lit(None, pl.Int64).alias("seed"),
        (pl.col("model") + f", mean of {seeds} seeds").alias("model"),
    )
    return pl.concat([predictions, mean.select(predictions.columns)])


def with_oracles(predictions: pl.DataFrame) -> pl.DataFrame:
    """Add what knows the answers: protein means, and the other measurements of an input.

    Args:
        predictions: Columns of `with_ensembles`, with protein and input.
    """
    model, _, split, seed = predictions.select(_KEYS).row(0)
    once = predictions.filter(
        (pl.col("model") == model) & (pl.col("split") == split) & pl.col("seed").eq_missing(seed)
    )
    oracles = [
        oracle(once).with_columns(
            pl.lit(name).alias("model"), pl.lit("-").alias("head"), pl.lit("test").alias("split"),
            pl.lit(None, pl.Int64).alias("seed"),
        ).select(predictions.columns)
        for name, oracle in (
            (PROTEIN_ORACLE, protein_mean_oracle),
            (REPLICATE_ORACLE, replicate_oracle),
        )
    ]  # fmt: skip
    return pl.concat([predictions, *oracles])


def number_scores(predictions: pl.DataFrame, *, unit: str) -> list[JoinedScore]:
    """Score predicted numbers of every model.

    Args:
        predictions: Columns model, head, split, seed, fold, row_id, target, prediction, protein,
            input, and kd_disagreement_kcal_mol where it is known.
        unit: Unit of the targets.
    """
    lines: list[JoinedScore] = []
    for keys, frame in predictions.group_by(_KEYS, maintain_order=True):
        model, head, split, seed = keys
        for rows, part in _subsets(str(model), frame):
            whole = protein_scores(part)
            folds = {
                int(fold): protein_scores(one)
                for (fold,), one in part.group_by("fold", maintain_order=True)
            }
            for metric in METRICS:
                lines += [
                    JoinedScore(
                        model=str(model),
                        head=str(head),
                        split=str(split),
                        seed=seed,
                        rows=rows,
                        metric=metric,
                        unit=unit if metric in IN_UNITS else "",
                        **line,
                    )
                    for line in _statistics(whole[metric], {f: s[metric] for f, s in folds.items()})
                ]
    return lines


def result_scores(results: pl.DataFrame) -> list[JoinedScore]:
    """The scores that folds report of themselves, and their mean.

    Args:
        results: Columns of a results file, with the seed of the cross-validation.
    """
    lines: list[JoinedScore] = []
    for keys, frame in results.group_by([*_KEYS, "metric", "unit"], maintain_order=True):
        model, head, split, seed, metric, unit = keys
        estimates = {
            int(fold): Estimate(value=value, low=math.nan, high=math.nan, n=n, proteins=0)
            for fold, value, n in frame.select("fold", "value", "n").iter_rows()
        }
        lines += [
            JoinedScore(
                model=str(model), head=str(head), split=str(split), seed=seed, rows=ALL_ROWS,
                metric=str(metric), unit=str(unit), **(line | {"proteins": None}),
            )
            for line in _statistics(None, estimates)
        ]  # fmt: skip
    return lines


def table_of(lines: list[JoinedScore]) -> pl.DataFrame:
    """Lines as a table with the columns of `JoinedScore`.

    Args:
        lines: Scores.
    """
    return pl.DataFrame([asdict(line) for line in lines], schema=SCHEMA)


def model_label(model: str, split: str, seed: int | None) -> str:
    """What stands for a tested model in tables and pictures.

    Args:
        model: Name of the model.
        split: Split it was tested on: ``test``, or ``test, `` and how the rows were changed.
        seed: Its seed, null where that does not matter.
    """
    changed = split.removeprefix("test").removeprefix(", ")
    label = f"{model} ({changed})" if changed else model
    return label if seed is None else f"{label}, seed {seed}"


def _subsets(model: str, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    if model == REPLICATE_ORACLE:
        yield REPLICATES, frame
        return
    yield ALL_ROWS, frame
    once = one_row_per_input(frame)
    if once.height < frame.height:
        yield ONE_PER_INPUT, once
    if "kd_disagreement_kcal_mol" in frame.columns:
        # A row without Kd contradicts nothing.
        disagrees = pl.col("kd_disagreement_kcal_mol") > LARGEST_DISAGREEMENT_KCAL_MOL
        agreeing = frame.filter(~disagrees.fill_null(value=False))
        if agreeing.height < frame.height:
            yield AGREEING, agreeing


def _statistics(pooled: Estimate | None, folds: dict[int, Estimate]) -> Iterator[dict[str, Any]]:
    """Lines of one metric: each fold, their mean, and pooled."""
    for fold, one in sorted(folds.items()):
        yield _line(FOLD, one, fold=fold)
    values = np.array([one.value for one in folds.values()], np.float64)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    mean = Estimate(
        value=float(values.mean()),
        low=math.nan,
        high=math.nan,
        n=sum(one.n for one in folds.values()),
        proteins=sum(one.proteins for one in folds.values()),
    )
    yield _line(MEAN, mean, error=float(error))
    if pooled is not None:
        yield _line(POOLED, pooled)


def _line(
    statistic: str, estimate: Estimate, *, fold: int | None = None, error: float = math.nan
) -> dict[str, Any]:
    return asdict(estimate) | {"statistic": statistic, "fold": fold, "error": error}
