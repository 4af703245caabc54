"""Results of several runs as one table: on the console, as Markdown, or as Parquet."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import jsonargparse
    import polars as pl

logger = logging.getLogger(__name__)

_KEYS: Final = ["run", "model", "split", "rows", "seed"]
"""What a line of the table stands for."""

_COUNTED: Final = "residues"
"""Unit of what is a whole number."""


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "runs",
        type=str,
        nargs="+",
        help="folders of biote crossval or biote test, as DIR or NAME=DIR; NAME is what the table "
        "calls the run",
    )
    parser.add_argument(
        "--metrics",
        type=str,
        nargs="+",
        default=None,
        help="columns, in this order; all by default",
    )
    parser.add_argument(
        "--models",
        type=str,
        nargs="+",
        default=None,
        help="models to show, 'random encoder' say; all by default",
    )
    parser.add_argument(
        "--rows",
        type=str,
        default="all rows",
        help="which rows of a cross-validation: 'all rows', 'one row per input' ...",
    )
    parser.add_argument(
        "--pooled",
        action="store_true",
        help="scores over the rows of all folds with their 95 %% interval, not the mean ± standard "
        "error over folds",
    )
    parser.add_argument("--markdown", action="store_true", help="write a Markdown table")
    parser.add_argument(
        "--output", type=Path | None, default=None, help="Parquet file for the lines of the table"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Read, choose and print.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If a folder has no results, or none of what is asked for.
    """
    import polars as pl

    from biote.atomic import atomic_path
    from biote.errors import ConfigError

    frames = [_read(text, rows=arguments.rows, pooled=arguments.pooled) for text in arguments.runs]
    names = [frame.item(0, "run") for frame in frames]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two runs are called {next(n for n in names if names.count(n) > 1)!r}",
            where="runs",
            mend="name them: NAME=DIR",
        )
    table = pl.concat(frames)
    for option, column in (("models", "model"), ("metrics", "metric")):
        wanted = getattr(arguments, option)
        if wanted is None:
            continue
        known = table.get_column(column).unique(maintain_order=True).to_list()
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise ConfigError(
                f"no {column} {unknown[0]!r}",
                where=f"--{option}",
                mend=f"there are: {', '.join(known)}",
            )
        table = table.filter(pl.col(column).is_in(wanted))
    same = table.filter(table.select([*_KEYS, "metric"]).is_duplicated())
    if not same.is_empty():
        line = same.row(0, named=True)
        raise ConfigError(
            f"{line['run']} has several {line['metric']} of {line['model']}",
            where="runs",
            mend="give folders that hold the test of one fold, benchmark and head",
        )
    if arguments.output is not None:
        with atomic_path(arguments.output) as partial:
            table.write_parquet(partial)
        logger.info("Table written to %s.", arguments.output)
    metrics = arguments.metrics or table.get_column("metric").unique(maintain_order=True).to_list()
    _print(table, metrics, markdown=arguments.markdown)


def _read(text: str, *, rows: str, pooled: bool) -> pl.DataFrame:
    """Lines of one run: those of its cross-validation, or of its test."""
    import polars as pl

    from biote.commands.joined_folds import TABLE_FILE
    from biote.errors import ConfigError
    from biote.tasks.fold_table import ALL_ROWS, MEAN, POOLED
    from biote.tasks.results import read_results

    name, named, path = text.rpartition("=")
    folder = Path(path)
    columns = [*_KEYS, "metric", "value", "error", "low", "high", "n", "unit"]
    run = pl.lit(name if named else folder.resolve().name).alias("run")
    if not (folder / TABLE_FILE).is_file():
        if rows != ALL_ROWS:
            raise ConfigError(
                f"{folder} is no cross-validation, all its rows are scored together",
                where="--rows",
                mend="leave it out, or leave that run out",
            )
        frame = read_results([folder]).with_columns(
            run, pl.lit(ALL_ROWS).alias("rows"), pl.lit(math.nan).alias("error")
        )
        return _with_intervals(frame).select(columns)
    joined = pl.read_parquet(folder / TABLE_FILE)
    scored = joined.get_column("rows").unique(maintain_order=True).to_list()
    if rows not in scored:
        raise ConfigError(
            f"{rows!r} were not scored in {folder}",
            where="--rows",
            mend=f"there are: {', '.join(scored)}",
        )
    chosen = (pl.col("rows") == rows) & (pl.col("statistic") == (POOLED if pooled else MEAN))
    lines = joined.filter(chosen).with_columns(run).select(columns)
    if lines.is_empty():
        raise ConfigError(
            f"{folder} has no scores over the rows of all folds",
            where="--pooled",
            mend="leave it out: there are means over folds",
        )
    return lines


def _with_intervals(results: pl.DataFrame) -> pl.DataFrame:
    """Put the ends of intervals, metrics of their own in results, beside their metric."""
    import polars as pl

    from biote.tasks.results import HIGH, LOW

    metric = pl.col("metric")
    for suffix, column in ((LOW, "low"), (HIGH, "high")):
        ends = results.filter(metric.str.ends_with(suffix)).select(
            *_KEYS, metric.str.strip_suffix(suffix), pl.col("value").alias(column)
        )
        results = results.filter(~metric.str.ends_with(suffix)).join(
            ends, on=[*_KEYS, "metric"], how="left", nulls_equal=True, maintain_order="left"
        )
        results = results.with_columns(pl.col(column).fill_null(math.nan))
    return results


def _print(table: pl.DataFrame, metrics: Sequence[str], *, markdown: bool) -> None:
    """Print a line for each run, model and split, and a column for each metric.

    More metrics than fit beside each other are lines, and each model is a column.
    """
    import polars as pl
    from rich.table import Table

    from biote.commands.tables import MOST_COLUMNS, console
    from biote.tasks.fold_table import model_label

    units = dict(table.filter(pl.col("unit") != "").select("metric", "unit").iter_rows())
    header = ["run", "model", "n", *(_title(metric, units) for metric in metrics)]
    lines = []
    for keys, part in table.group_by(_KEYS, maintain_order=True):
        cells = {row["metric"]: row for row in part.iter_rows(named=True)}
        run, model, split, _, seed = keys
        count = next(cells[metric]["n"] for metric in metrics if metric in cells)
        scores = [_cell(cells.get(metric)) for metric in metrics]
        lines.append([str(run), model_label(model, split, seed), f"{count:,}", *scores])
    names = 2
    if len(metrics) > MOST_COLUMNS:
        header, *lines = [list(line) for line in zip(header, *lines, strict=True)]
        names = 1
    if markdown:
        rule = [*["---"] * names, *["---:"] * (len(header) - names)]
        text = "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
        console().print(text, markup=False, soft_wrap=True, highlight=False)
        return
    grid = Table()
    for i, column in enumerate(header):
        grid.add_column(column, justify="left" if i < names else "right")
    for line in lines:
        grid.add_row(*line)
    console().print(grid)


def _title(metric: str, units: Mapping[str, str]) -> str:
    from biote.tasks.metric_labels import metric_label

    unit = f" ({units[metric]})" if metric in units else ""
    return metric_label(metric) + unit


def _cell(line: Mapping[str, Any] | None) -> str:
    if line is None or math.isnan(line["value"]):
        return "-"
    if line["unit"] == _COUNTED:
        return f"{line['value']:,.0f}"
    text = f"{line['value']:.3f}"
    if not math.isnan(line["error"]):
        return f"{text} ± {line['error']:.3f}"
    if not math.isnan(line["low"]):
        return f"{text} [{line['low']:.3f}, {line['high']:.3f}]"
    return text
