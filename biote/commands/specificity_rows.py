"""Results of a JASPAR test: its predictions as differences, their statistics, table and picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.table import Table

from biote.atomic import atomic_path
from biote.commands.tables import console
from biote.datamodules.jaspar import JasparDataModule
from biote.errors import DataError
from biote.report.specificity import specificity_figure
from biote.tasks.results import PREDICTIONS_FILE, ResultRow, write_results
from biote.tasks.specificity import (
    ALL_MUTANTS,
    FACTOR_MEAN,
    FOLD_MEAN,
    MATCHED,
    MINUS_CONTROL,
    SHARE_POSITIVE,
    SPEARMAN,
    WITHIN_SPEARMAN,
    differences,
    specificity_table,
)

VARIANTS_FILE: Final = "variants.parquet"
TABLE_FILE: Final = "specificity.parquet"
FIGURE_FILE: Final = "specificity.png"

_METRICS: Final = {
    FOLD_MEAN: "ddg_fold_mean",
    FACTOR_MEAN: "ddg_mean",
    SHARE_POSITIVE: "ddg_share_positive",
    SPEARMAN: "spearman_log_odds_lost",
    WITHIN_SPEARMAN: "within_factor_spearman",
    MINUS_CONTROL: "ddg_minus_control",
}


def write_variants(data: JasparDataModule, folder: Path) -> None:
    """Write what every row of a test stands for, as ``variants.parquet``.

    Args:
        data: Data of the test.
        folder: Run folder.
    """
    _write(data.variants.frame(), folder / VARIANTS_FILE)


def specificity_rows(folder: Path, examples: Sequence[ResultRow]) -> list[ResultRow]:
    """Turn the predictions of a folder into statistics, and write those beside them.

    Args:
        folder: Folder with ``predictions.parquet`` and ``variants.parquet``.
        examples: One result of each model, whose benchmark and fingerprints the rows share.

    Returns:
        Rows of the results table; written, with ``specificity.parquet`` and a picture.

    Raises:
        DataError: If the predictions are not those of all rows.
    """
    variants = _read(folder / VARIANTS_FILE)
    predictions = _read(folder / PREDICTIONS_FILE)
    table = specificity_table(differences(variants, predictions), unit=examples[0].unit)
    _write(table, folder / TABLE_FILE)
    rows = [row for example in examples for row in _rows(table, example)]
    write_results(folder, rows)
    specificity_figure(folder / FIGURE_FILE, table)
    return rows


def print_specificity(folder: Path) -> None:
    """Print the table of a folder.

    Args:
        folder: Folder with ``specificity.parquet``.
    """
    table = _read(folder / TABLE_FILE)
    for (probability,), part in table.group_by("probability", maintain_order=True):
        whole = part.filter(pl.col("stratum") == ALL_MUTANTS)
        first = whole.filter(pl.col("statistic") == FACTOR_MEAN).row(0, named=True)
        grid = Table(
            title=f"JASPAR, each base replaced with p = {probability:g}: ΔΔG in kcal/mol of "
            f"{first['mutants']:,} mutants, {first['factors']:,} proteins of "
            f"{first['families']:,} families, {first['folds']} fold models",
            caption="±: standard error over folds; []: 95 % interval, families resampled; p: one-"
            "sided, signs of families flipped / signed ranks of proteins; Spearman with the "
            "profile's log-odds lost; a ridge regression adds up protein and strands, so its ΔΔG "
            "is of the strands alone",
        )
        grid.add_column("model, sites")
        for name in ("mean over folds", "mean over proteins", "p", "above 0", "Spearman", "within"):
            grid.add_column(name, justify="right")
        for (model, control), lines in whole.group_by("model", "control", maintain_order=True):
            of = {line["statistic"]: line for line in lines.iter_rows(named=True)}
            cells = _cells(of)
            grid.add_row(f"{model}, {control}", *cells)
            if MINUS_CONTROL in of:
                paired = of[MINUS_CONTROL]
                grid.add_row(f"  matched - {control}", "", _interval(paired), _ps(paired))
        for (model, stratum), lines in part.filter(
            (pl.col("control") == MATCHED) & (pl.col("stratum") != ALL_MUTANTS)
        ).group_by("model", "stratum", maintain_order=True):
            of = {line["statistic"]: line for line in lines.iter_rows(named=True)}
            grid.add_row(f"{model}, {stratum} bit", *_cells(of))
        console().print(grid)


def _cells(of: dict[str, dict[str, Any]]) -> list[str]:
    folds = of[FOLD_MEAN]
    error = "" if math.isnan(folds["error"]) else f" ±{folds['error']:.3f}"
    cells = [f"{folds['value']:+.3f}{error}", _interval(of[FACTOR_MEAN]), _ps(of[FACTOR_MEAN])]
    for name in (SHARE_POSITIVE, SPEARMAN, WITHIN_SPEARMAN):
        value = of[name]["value"] if name in of else math.nan
        cells.append("" if math.isnan(value) else f"{value:.3f}")
    return cells


def _interval(line: dict[str, Any]) -> str:
    return f"{line['value']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]"


def _ps(line: dict[str, Any]) -> str:
    return f"{line['p_sign_flip']:.2g} / {line['p_wilcoxon']:.2g}"


def _rows(table: pl.DataFrame, example: ResultRow) -> list[ResultRow]:
    """The table's lines about all mutants as rows of the results."""
    rows: list[ResultRow] = []
    chosen = (pl.col("model") == example.model) & (pl.col("stratum") == ALL_MUTANTS)
    for line in table.filter(chosen).iter_rows(named=True):
        if line["statistic"] not in _METRICS:
            continue
        control = "" if line["control"] == MATCHED else f"_{line['control']}"
        metric = f"{_METRICS[line['statistic']]}{control}_p{line['probability']:g}"
        rows.append(
            replace(
                example, metric=metric, value=line["value"], n=line["factors"], unit=line["unit"]
            )
        )
        if not math.isnan(line["p_sign_flip"]):
            rows.append(
                replace(
                    example,
                    metric=f"{metric}_one_sided_p",
                    value=line["p_sign_flip"],
                    n=line["families"],
                    unit="",
                )
            )
    return rows


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"no {path.name} there", where=str(path), mend="run biote test first")
    return pl.read_parquet(path)


def _write(frame: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        frame.write_parquet(partial)
