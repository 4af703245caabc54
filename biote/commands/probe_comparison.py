"""Runs of the attention probe as one table, results, and a picture."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.table import Table

from biote.atomic import atomic_path
from biote.commands.probe_runs import ProbeRun, check_comparable
from biote.commands.probe_subsets import ALL_COMPLEXES, read_proteins, subsets
from biote.commands.tables import console
from biote.commands.work_progress import show_progress
from biote.report.probe import probe_figure
from biote.tasks.paired_residues import CHANCE_MODEL, COMPARED, paired_scores, table_of
from biote.tasks.results import ResultRow, write_results

logger = logging.getLogger(__name__)

TABLE_FILE: Final = "comparison.parquet"
FIGURE_FILE: Final = "comparison.png"


def compare_runs(
    runs: Sequence[ProbeRun],
    *,
    output: Path,
    fold_file: Path | None,
    tuned_on: Path | None,
    threshold: float,
) -> pl.DataFrame:
    """Compare runs with the first one; write ``comparison.parquet``, results and a picture.

    Args:
        runs: The base, then the others.
        output: Folder to write to.
        fold_file: Fold file of the runs; null takes the one they name.
        tuned_on: Proteins that complexes are to have nothing in common with; see
            `biote.commands.probe_subsets.subsets`.
        threshold: Proteins with a higher score are similar.

    Returns:
        The table.

    Raises:
        DataError: If the runs cannot be compared, or proteins cannot be read.
    """
    base = runs[0]
    for other in runs[1:]:
        check_comparable(base, other)
    output.mkdir(parents=True, exist_ok=True)
    with show_progress("aligning", console(), count="pairs") as progress:
        proteins = read_proteins(
            fold_file or base.fold_file,
            data_fingerprint=base.example.data_fingerprint,
            threshold=threshold,
            progress=progress,
        )
        chosen = subsets(
            proteins, tuned_on=tuned_on, threshold=threshold, output=output, progress=progress
        )
    lines = []
    for name, rows in chosen.items():
        residues = {run.name: run.residues.filter(pl.col("row_id").is_in(rows)) for run in runs}
        if not residues[base.name].height:
            logger.warning("No tested complex is left with %s.", name)
            continue
        lines += paired_scores(
            residues, base=base.name, labels=base.labels, unit_of=proteins.unit_of, rows=name
        )
    table = table_of(lines)
    with atomic_path(output / TABLE_FILE) as partial:
        table.write_parquet(partial)
    write_results(output, _result_rows(table, {run.name: run.example for run in runs}, base))
    with atomic_path(output / FIGURE_FILE) as partial:
        probe_figure(partial, table, subtitle=_subtitle(base))
    _print(table, base)
    logger.info("Table and picture written to %s.", output)
    return table


def _result_rows(
    table: pl.DataFrame, examples: dict[str, ResultRow], base: ProbeRun
) -> list[ResultRow]:
    """The table's lines as rows of the results."""
    rows: list[ResultRow] = []
    for line in table.iter_rows(named=True):
        example = examples.get(line["model"], base.example)
        metric = f"{line['metric']}_{line['label']}"
        if line["model"] == CHANCE_MODEL:
            example = replace(example, head="-")
        values = {metric: line["fold_mean"], f"{metric}_pooled": line["value"]}
        if line["minus"] is not None:
            metric = f"{metric}_minus_{line['minus']}"
            values = {
                metric: line["fold_mean"],
                f"{metric}_low": line["fold_low"],
                f"{metric}_high": line["fold_high"],
                f"{metric}_pooled": line["value"],
                f"{metric}_pooled_low": line["low"],
                f"{metric}_pooled_high": line["high"],
            }
        split = "test" if line["rows"] == ALL_COMPLEXES else f"test, {line['rows']}"
        rows += [
            replace(
                example,
                model=line["model"],
                split=split,
                fold=None,
                seed=None,
                metric=name,
                value=value,
                n=line["residues"],
                unit="",
                weights_fingerprint="",  # the models of several folds
            )
            for name, value in values.items()
        ]
    return rows


def _subtitle(base: ProbeRun) -> str:
    folds = len({done.run.fold for done in base.folds})
    seeds = len({done.run.seed for done in base.folds})
    many = "" if seeds == 1 else f", {seeds} seeds"
    return f"{base.example.benchmark}, {folds} of {base.folds[0].folds} folds{many}"


def _print(table: pl.DataFrame, base: ProbeRun) -> None:
    for (rows,), part in table.group_by("rows", maintain_order=True):
        first = part.row(0, named=True)
        grid = Table(
            title=f"{_subtitle(base)}, {rows}: {first['complexes']:,} complexes of "
            f"{first['units']:,} clusters, {first['residues']:,} residues",
            caption="first line: mean over folds, second: residues of all folds pooled; []: 95 % "
            "interval, clusters of proteins resampled",
        )
        grid.add_column("distance")
        grid.add_column("model")
        for metric in COMPARED:
            grid.add_column(metric.upper(), justify="right")
        for (label, model, minus), lines in part.group_by(
            ["label", "model", "minus"], maintain_order=True
        ):
            of = {line["metric"]: line for line in lines.iter_rows(named=True)}
            name = str(model) if minus is None else f"{model} - {minus}"
            signed = minus is not None
            grid.add_row(
                str(label), name, *(_cell(of.get(metric), signed=signed) for metric in COMPARED)
            )
        console().print(grid)


def _cell(line: dict[str, Any] | None, *, signed: bool) -> str:
    if line is None or math.isnan(line["value"]):
        return "-"
    plus = "+" if signed else ""
    return "\n".join(
        f"{line[value]:{plus}.3f} [{line[low]:{plus}.3f}, {line[high]:{plus}.3f}]"
        for value, low, high in (("fold_mean", "fold_low", "fold_high"), ("value", "low", "high"))
    )
