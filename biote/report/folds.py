"""The picture of a cross-validation: every score of every fold, and predicted against measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.tasks.fold_table import (
    ALL_ROWS,
    FOLD,
    MEAN,
    PROTEIN_ORACLE,
    REPLICATE_ORACLE,
    model_label,
)
from biote.tasks.metric_labels import metric_label

_PANELS: Final = 3
_PASSED_OVER: Final = ("spearman",)
"""Metrics that have no panel: beside the correlation coefficient there is little news in them."""

_TRAINED: Final = "#1b6ca8"
_ORACLE: Final = "#3f8f4f"
_OTHER: Final = "0.35"
_KEYS: Final = ["model", "split", "seed"]


def fold_figure(
    path: Path, table: pl.DataFrame, predictions: pl.DataFrame | None, *, subtitle: str
) -> None:
    """Draw the first metrics of the table, a line a model, and the predictions of the first model.

    Args:
        path: PNG to write.
        table: Columns of `biote.tasks.fold_table.SCHEMA`.
        predictions: Columns model, split, seed, target, prediction, one output a row; null draws
            none.
        subtitle: A line under the title.
    """
    shown = table.filter((pl.col("rows") == ALL_ROWS) & pl.col("statistic").is_in([FOLD, MEAN]))
    metrics = [
        metric
        for metric in shown.get_column("metric").unique(maintain_order=True).to_list()
        if metric not in _PASSED_OVER
    ][:_PANELS]
    shown = shown.filter(pl.col("metric").is_in(metrics))
    models = shown.select(_KEYS).unique(maintain_order=True).rows()
    panels = len(metrics) + (predictions is not None)
    height = max(4.2, 0.38 * len(models) + 1.6)
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.4 * panels + 2.0, height), dpi=150, layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for i, metric in enumerate(metrics):
            _scores(axes[i], shown.filter(pl.col("metric") == metric), models)
            axes[i].set_yticks(range(len(models)), [_label(*m) if i == 0 else "" for m in models])
        if predictions is not None:
            drawn = predictions.filter(_is(*models[0]))
            _scatter(axes[-1], drawn, unit=_unit(table))
        figure.suptitle(f"Cross-validation (points: folds; mean ± standard error)\n{subtitle}")
        figure.savefig(path, format="png")


def _scores(axes: Axes, lines: pl.DataFrame, models: list[tuple[str, str, int | None]]) -> None:
    """Draw one metric: faint points for folds, a mark with its standard error for their mean."""
    for place, (model, split, seed) in enumerate(models):
        mine = lines.filter(_is(model, split, seed))
        colour = _TRAINED if "encoder" in model else _OTHER
        colour = _ORACLE if model in (PROTEIN_ORACLE, REPLICATE_ORACLE) else colour
        folds = mine.filter(pl.col("statistic") == FOLD)["value"].to_numpy()
        axes.scatter(folds, np.full(len(folds), place), s=12, alpha=0.3, color=colour, linewidths=0)
        for mean in mine.filter(pl.col("statistic") == MEAN).iter_rows(named=True):
            error = 0.0 if math.isnan(mean["error"]) else mean["error"]
            axes.errorbar(mean["value"], place, xerr=error, fmt="D", color=colour, markersize=5)
    metric = metric_label(lines.item(0, "metric"))
    axes.set(xlabel=metric + _unit(lines), ylim=(len(models) - 0.5, -0.5))
    axes.grid(axis="x", color="0.92")


def _is(model: str, split: str, seed: int | None) -> pl.Expr:
    """Whether a line is of a model, as it was tested and seeded."""
    return (
        (pl.col("model") == model)
        & (pl.col("split") == split)
        & pl.col("seed").eq_missing(pl.lit(seed, pl.Int64))
    )


def _label(model: str, split: str, seed: int | None) -> str:
    """The label in two lines where the rows were changed."""
    return model_label(model, split, seed).replace(f"{model} (", f"{model}\n(", 1)


def _unit(table: pl.DataFrame) -> str:
    units = table.filter(pl.col("unit") != "").get_column("unit")
    return f" ({units.item(0)})" if len(units) else ""


def _scatter(axes: Axes, frame: pl.DataFrame, *, unit: str) -> None:
    """Draw predicted against measured values, all folds together."""
    measured, predicted = frame["target"].to_numpy(), frame["prediction"].to_numpy()
    axes.scatter(measured, predicted, s=5, alpha=0.25, linewidths=0, color=_TRAINED)
    ends = [
        float(min(measured.min(), predicted.min())),
        float(max(measured.max(), predicted.max())),
    ]
    axes.plot(ends, ends, color="0.4", linewidth=1)
    axes.set(
        xlabel=f"measured{unit}",
        ylabel=f"predicted{unit}",
        title=f"{frame.item(0, 'model')}, {len(frame):,} rows",
    )
