"""Yes-or-no predictions of several models for the same residues, and how far they differ.

Legend: N residues, U units (clusters of proteins), R bootstrap replicates, G distinct predictions.

Residues of one protein are not independent, nor are similar proteins: confidence intervals come
from resampling units, and a replicate is the same for all models, so differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from biote.tasks.bootstrap import draws, interval
from biote.tasks.residue_metrics import THRESHOLD

REPLICATES: Final = 1_000
"""Bootstrap replicates of a confidence interval."""

COMPARED: Final = ("f1", "auroc", "auprc")
CHANCE: Final = "chance_f1"
CHANCE_MODEL: Final = "chance"
_AT_ONCE: Final = 1_000_000
"""Weights of residues that are held at once."""

KEYS: Final = ("seed", "fold", "row_id", "position", "output")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairedScore:
    """One line of the comparison."""

    model: str
    minus: str | None
    """Model that was subtracted; null where the line is no difference."""

    rows: str
    """Which complexes were scored."""

    label: str
    metric: str
    value: float
    """Over the residues of all folds together; with several seeds, the mean over seeds."""

    low: float
    """Lower end of the 95 % interval from resampling units."""

    high: float
    fold_mean: float
    """Mean over the folds in which it is defined: models of different folds are not compared, so
    that it does not depend on how high each scores on the whole."""

    fold_low: float
    """Lower end of its 95 % interval from resampling units."""

    fold_high: float

    fold_error: float
    """Standard error of that mean; NaN with fewer than two such folds."""

    residues: int
    complexes: int
    units: int


SCHEMA: Final = {
    "model": pl.String,
    "minus": pl.String,
    "rows": pl.String,
    "label": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "fold_mean": pl.Float64,
    "fold_low": pl.Float64,
    "fold_high": pl.Float64,
    "fold_error": pl.Float64,
    "residues": pl.Int64,
    "complexes": pl.Int64,
    "units": pl.Int64,
}


def weighted_scores(predictions: Floats, labels: Floats, weights: Floats) -> dict[str, Floats]:
    """Scores of residues that count a number of times each.

    Args:
        predictions: Probabilities, (N,).
        labels: 1 or 0, (N,).
        weights: How often each residue counts, (R, N).

    Returns:
        F1 at a probability of 0.5, areas under the receiver-operating and the precision-recall
        curve, and the F1 of calling all residues positive, (R,) each; NaN where it is not
        defined.
    """
    order = np.argsort(-predictions, kind="stable")
    ranked, truth, weights = predictions[order], labels[order], weights[:, order]
    # Residues with the same prediction stand at one point of both curves.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    positives = np.cumsum(weights * truth, axis=1)[:, ends]  # (R, G)
    negatives = np.cumsum(weights * (1 - truth), axis=1)[:, ends]
    found = np.diff(positives, axis=1, prepend=0.0)
    wrong = np.diff(negatives, axis=1, prepend=0.0)
    all_positive, all_negative = found.sum(axis=1), wrong.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (wrong * (positives - found / 2)).sum(axis=1) / (all_positive * all_negative)
        precision = np.where(found > 0, positives / (positives + negatives), 0.0)
        auprc = (found * precision).sum(axis=1) / all_positive
        chosen = ranked[ends] > THRESHOLD
        true, false = found @ chosen, wrong @ chosen
        wanted = true + false + all_positive  # 2 TP + FP + FN
        f1 = np.where(wanted > 0, 2 * true / wanted, 0.0)
        share = all_positive / (all_positive + all_negative)
        return {"f1": f1, "auroc": auroc, "auprc": auprc, CHANCE: 2 * share / (1 + share)}


def paired_scores(
    residues: Mapping[str, pl.DataFrame],
    *,
    base: str,
    labels: Sequence[str],
    unit_of: Mapping[str, str],
    rows: str,
    seed: int = 0,
) -> list[PairedScore]:
    """Score models on the same residues, and every other model minus one of them.

    Args:
        residues: By model, columns seed, fold, row_id, position, output, target, prediction of
            labelled residues; the same residues in all.
        base: Model that is subtracted from the others.
        labels: What each output answers.
        unit_of: Unit of every row.
        rows: What the residues are called in the lines.
        seed: Chooses the replicates.

    Returns:
        For each label the chance F1, the scores of every model, and the differences.
    """
    ordered = {name: frame.sort(KEYS) for name, frame in residues.items()}
    first = ordered[base]
    row_ids = first.get_column("row_id").unique().sort().to_list()
    if not row_ids:
        return []
    units = sorted({unit_of[row] for row in row_ids})
    number = {unit: i for i, unit in enumerate(units)}
    of_row = {row: number[unit_of[row]] for row in row_ids}
    counts = draws(len(units), replicates=REPLICATES, seed=seed)
    lines: list[PairedScore] = []
    for output, label in enumerate(labels):
        mine = {name: f.filter(pl.col("output") == output) for name, f in ordered.items()}
        scores = {name: _scores(frame, of_row, counts) for name, frame in mine.items()}
        one_seed = first.item(0, "seed")
        size = mine[base].filter(pl.col("seed").eq_missing(one_seed)).height

        def line(
            model: str,
            minus: str | None,
            metric: str,
            values: _Scored,
            label: str = label,
            size: int = size,
        ) -> PairedScore:
            low, high = interval(values.replicates)
            fold_low, fold_high = interval(values.fold_replicates)
            known = values.folds[np.isfinite(values.folds)]
            several = len(known) > 1
            return PairedScore(
                model=model,
                minus=minus,
                rows=rows,
                label=label,
                metric=metric,
                value=values.whole,
                low=low,
                high=high,
                fold_mean=float(known.mean()) if len(known) else math.nan,
                fold_low=fold_low,
                fold_high=fold_high,
                fold_error=float(known.std(ddof=1) / math.sqrt(len(known)))
                if several
                else math.nan,
                residues=size,
                complexes=len(row_ids),
                units=len(units),
            )

        lines.append(line(CHANCE_MODEL, None, "f1", scores[base][CHANCE]))
        for name in mine:
            lines += [line(name, None, metric, scores[name][metric]) for metric in COMPARED]
        for name in mine:
            if name != base:
                lines += [
                    line(name, base, metric, scores[name][metric].minus(scores[base][metric]))
                    for metric in COMPARED
                ]
    return lines


def table_of(lines: Sequence[PairedScore]) -> pl.DataFrame:
    """Lines as a table with the columns of `PairedScore`.

    Args:
        lines: Scores.
    """
    return pl.DataFrame([asdict(line) for line in lines], schema=SCHEMA)


@dataclass(frozen=True)
class _Scored:
    """One metric of one model."""

    whole: float
    folds: Floats
    replicates: Floats
    fold_replicates: Floats
    """Mean over folds in every replicate."""

    def minus(self, other: _Scored) -> _Scored:
        return _Scored(
            self.whole - other.whole,
            self.folds - other.folds,
            self.replicates - other.replicates,
            self.fold_replicates - other.fold_replicates,
        )


def _scores(frame: pl.DataFrame, of_row: Mapping[str, int], counts: Floats) -> dict[str, _Scored]:
    """Every metric of one model and label, the mean over seeds."""
    seeds = [_scores_of_seed(part, of_row, counts) for _, part in frame.group_by("seed")]
    return {
        metric: _Scored(
            float(np.mean([one[metric].whole for one in seeds])),
            np.mean([one[metric].folds for one in seeds], axis=0),
            np.mean([one[metric].replicates for one in seeds], axis=0),
            np.mean([one[metric].fold_replicates for one in seeds], axis=0),
        )
        for metric in (*COMPARED, CHANCE)
    }


def _scores_of_seed(
    frame: pl.DataFrame, of_row: Mapping[str, int], counts: Floats
) -> dict[str, _Scored]:
    predictions = frame.get_column("prediction").to_numpy().astype(np.float64)
    labels = frame.get_column("target").to_numpy().astype(np.float64)
    folds = frame.get_column("fold").to_numpy()
    unit = np.array([of_row[row] for row in frame.get_column("row_id")], np.int64)
    whole = weighted_scores(predictions, labels, np.ones((1, len(labels))))
    numbers = np.unique(folds)
    of_folds = weighted_scores(
        predictions, labels, (folds[None, :] == numbers[:, None]).astype(np.float64)
    )
    pooled = _replicates(predictions, labels, counts, unit)
    by_fold = [
        _replicates(predictions[folds == k], labels[folds == k], counts, unit[folds == k])
        for k in numbers
    ]
    return {
        metric: _Scored(
            float(whole[metric][0]),
            of_folds[metric],
            pooled[metric],
            _mean_of_known(np.stack([fold[metric] for fold in by_fold])),
        )
        for metric in (*COMPARED, CHANCE)
    }


def _replicates(
    predictions: Floats, labels: Floats, counts: Floats, unit: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    """Scores in every replicate, (R,) each.

    Args:
        predictions: Probabilities, (N,).
        labels: 1 or 0, (N,).
        counts: How often each unit is drawn, (R, U).
        unit: Unit of every residue, (N,).
    """
    step = max(1, _AT_ONCE // len(labels))
    parts = [
        weighted_scores(predictions, labels, counts[start : start + step, unit])
        for start in range(0, len(counts), step)
    ]
    undrawn = counts[:, np.unique(unit)].sum(axis=1) == 0
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: np.where(undrawn, np.nan, values) for name, values in joined.items()}


def _mean_of_known(values: Floats) -> Floats:
    """Mean over folds of those that are defined, (R,); NaN where none is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return mean
