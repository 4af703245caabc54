"""Folds that are done as one table, written and printed."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl
from rich.table import Table

from biote.atomic import atomic_path
from biote.commands.fold_runs import ROWS_FILE, DoneFold
from biote.commands.tables import MOST_COLUMNS, console
from biote.errors import DataError
from biote.report.folds import fold_figure
from biote.tasks.fold_table import (
    ALL_ROWS,
    MEAN,
    POOLED,
    check_partition,
    model_label,
    number_scores,
    result_scores,
    table_of,
    with_ensembles,
    with_oracles,
)
from biote.tasks.metric_labels import metric_label
from biote.tasks.results import POSITIONS, PREDICTIONS_FILE, read_results

logger = logging.getLogger(__name__)

TABLE_FILE: Final = "crossval.parquet"
_HOLDING_RULE: Final = "paper"
FIGURE_FILE: Final = "crossval.png"
JOINED_PREDICTIONS_FILE: Final = "predictions.parquet"


def join_folds(output: Path, folds: Sequence[DoneFold], *, name: str) -> pl.DataFrame:
    """Join folds, write the table, a picture and the predictions, print the table.

    Args:
        output: Folder to write to.
        folds: Folds and seeds that are done, in any order.
        name: Name of the run in the table.

    Returns:
        The table.

    Raises:
        DataError: If the folds do not belong together.
    """
    folds = sorted(folds, key=lambda done: (done.run.fold, done.run.seed or 0))
    if len({(one.protocol, one.folds, one.target_kind) for one in folds}) > 1:
        raise DataError(
            "the folds were run with different settings",
            where=str(output),
            mend="run them anew with one configuration and --overwrite",
        )
    results = pl.concat([_results(one) for one in folds])
    facts = pl.concat([_facts(one) for one in folds])
    first = folds[0]
    one_seed = facts.filter(pl.col("seed").eq_missing(first.run.seed))
    whole = one_seed.get_column("fold").n_unique() == first.folds
    held = check_partition(one_seed, whole=whole, holds=first.rule == _HOLDING_RULE)
    if held:
        logger.info("%d rows are held in training in every fold and tested in none.", held)
    predictions = pl.concat([_predictions(one, results, facts) for one in folds])
    one_output = predictions.get_column("output").max() == 0
    if first.target_kind == "regression" and one_output:
        predictions = with_oracles(with_ensembles(predictions))
        units = results.filter(pl.col("metric") == "mae").get_column("unit")
        lines = number_scores(predictions, unit=units.item(0) if len(units) else "")
    else:
        lines = result_scores(results)
    table = table_of(lines).with_columns(
        pl.lit(results.item(0, "benchmark")).alias("benchmark"),
        pl.lit(name).alias("run"),
        pl.lit(first.protocol).alias("protocol"),
    )
    _write(table, output / TABLE_FILE)
    _write(predictions, output / JOINED_PREDICTIONS_FILE)
    _print(table, folds=len({one.run.fold for one in folds}), of=first.folds)
    fold_figure(
        output / FIGURE_FILE,
        table,
        predictions if first.target_kind == "regression" and one_output else None,
        subtitle=f"{results.item(0, 'benchmark')}, {name}",
    )
    logger.info("Table written to %s, picture to %s.", output / TABLE_FILE, output / FIGURE_FILE)
    return table


def _results(done: DoneFold) -> pl.DataFrame:
    seed = pl.lit(done.run.seed, pl.Int64).alias("seed")
    return read_results([done.run.folder]).with_columns(seed)


def _facts(done: DoneFold) -> pl.DataFrame:
    return pl.read_parquet(done.run.folder / ROWS_FILE).with_columns(
        pl.lit(done.run.fold).alias("fold"), pl.lit(done.run.seed, pl.Int64).alias("seed")
    )


def _predictions(done: DoneFold, results: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Predictions of one fold with the head of their model and the facts of their rows."""
    path = done.run.folder / PREDICTIONS_FILE
    frame = pl.read_parquet(path)
    if frame.filter(pl.col("fold") != done.run.fold).height:
        raise DataError(
            "predictions of another fold are in it",
            where=str(path),
            mend="delete the folder and run the fold again",
        )
    heads = results.select("model", "head").unique()
    mine = facts.filter(
        (pl.col("fold") == done.run.fold) & pl.col("seed").eq_missing(done.run.seed)
    ).filter(pl.col("split") == "test")
    joined = (
        frame.with_columns(pl.lit(done.run.seed, pl.Int64).alias("seed"))
        .join(heads, on="model", how="left")
        .join(mine.drop("split", "fold", "seed"), on="row_id", how="inner")
    )
    if joined.height != frame.height or not _of_all_rows(joined, mine.height):
        raise DataError(
            "its predictions are not those of all rows of the fold",
            where=str(path),
            mend="delete the folder and run the fold again",
        )
    return joined


def _of_all_rows(predictions: pl.DataFrame, rows: int) -> bool:
    """Whether every model predicted once for each of the rows, their residues or their pairs.

    A protein too short to have a pair of residues has no line.

    Args:
        predictions: Predictions of one fold.
        rows: Number of its rows.
    """
    outputs = predictions.get_column("output").n_unique()
    of_model = predictions.group_by("model", "split")
    places = [name for name in POSITIONS if name in predictions.columns]
    if not places:
        return bool((of_model.len().get_column("len") == rows * outputs).all())
    parts = predictions.select("row_id", *places).n_unique()
    counts = of_model.agg(
        pl.len(),
        pl.col("row_id").n_unique().alias("rows"),
        pl.struct("row_id", *places, "output").n_unique().alias("distinct"),
    )
    whole = parts * outputs
    has_all = pl.col("rows") <= rows if len(places) == 2 else pl.col("rows") == rows
    return bool(
        counts.select(
            ((pl.col("len") == whole) & (pl.col("distinct") == whole) & has_all).all()
        ).item()
    )


def _print(table: pl.DataFrame, *, folds: int, of: int) -> None:
    shown = table.filter(pl.col("statistic").is_in([MEAN, POOLED]))
    first = table.row(0, named=True)
    for subset in shown.get_column("rows").unique(maintain_order=True):
        part = shown.filter(pl.col("rows") == subset)
        count = part.filter(pl.col("statistic") == MEAN).item(0, "n")
        title = f"{first['benchmark']}, {folds} of {of} folds, {subset} ({count:,})"
        caption = (
            f"{first['run']}, protocol {first['protocol'][:12]}. ±: standard error over folds; "
            "[]: 95 % interval, proteins (or clusters kept together) resampled, folds pooled"
        )
        grid = Table(title=title, caption=caption if subset == ALL_ROWS else None)
        metrics = part.get_column("metric").unique(maintain_order=True).to_list()
        metrics = [metric for metric in metrics if len(metrics) < 5 or metric != "spearman"]
        models = list(part.group_by(["model", "split", "seed"], maintain_order=True))
        labels = [model_label(*keys) for keys, _ in models]
        cells = [
            [_cell(lines.filter(pl.col("metric") == metric)) for metric in metrics]
            for _, lines in models
        ]
        names = [metric_label(metric) for metric in metrics]
        if len(metrics) > MOST_COLUMNS:  # they stand below each other
            labels, names = names, labels
            cells = [list(column) for column in zip(*cells, strict=True)]
        grid.add_column("model" if len(metrics) <= MOST_COLUMNS else "metric")
        for name in names:
            grid.add_column(name, justify="right")
        for label, row in zip(labels, cells, strict=True):
            grid.add_row(label, *row)
        console().print(grid)


def _cell(lines: pl.DataFrame) -> str:
    """Mean ± error over folds, below it the pooled value with its interval."""
    cell = []
    for line in lines.iter_rows(named=True):
        if math.isnan(line["value"]):
            text = "-"
        elif line["statistic"] == MEAN:
            error = "" if math.isnan(line["error"]) else f" ±{line['error']:.3f}"
            text = f"{line['value']:.3f}{error}"
        elif math.isnan(line["low"]):
            text = f"{line['value']:.3f}"
        else:
            text = f"{line['value']:.3f}\n[{line['low']:.2f}, {line['high']:.2f}]"
        cell.append(text)
    return "\n".join(cell)


def _write(frame: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        frame.write_parquet(partial)
