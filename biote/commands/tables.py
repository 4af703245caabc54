"""Tables on the console."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from biote.molecules import Modality
from biote.tasks.metrics import MaskedTokenSummary
from biote.tasks.results import HIGH, LOW, ResultRow

_PIPE_WIDTH = 120
"""Columns of a table that is written to a file or a pipe; a terminal has its own width."""

MOST_COLUMNS: Final = 7
"""Metrics that stand beside each other; more stand below each other."""


def console() -> Console:
    """Where tables go: the terminal, or a file or pipe of a fixed width."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def print_results(rows: Sequence[ResultRow], *, items: str = "rows") -> None:
    """Print results, a line for each model and a column for each metric.

    Where there are many metrics, models have columns and metrics lines.

    Args:
        rows: Results of one benchmark and split.
        items: What was scored.
    """
    first = rows[0]
    fold = "" if first.fold is None else f", fold {first.fold}"
    table = Table(title=f"{first.benchmark}, {first.split} split{fold}, {first.n} {items}")
    metrics = list(dict.fromkeys(row.metric for row in rows))
    units = {row.metric: row.unit for row in rows if row.unit}
    values = {(row.model, row.head, row.metric): row.value for row in rows}
    if len(metrics) > MOST_COLUMNS:
        _print_metrics_as_lines(table, metrics, values)
        return
    table.add_column("model")
    table.add_column("head")
    for metric in metrics:
        unit = f" ({units[metric]})" if metric in units else ""
        table.add_column(f"{metric}{unit}", justify="right")
    for model, head in dict.fromkeys((row.model, row.head) for row in rows):
        cells = [values.get((model, head, metric), math.nan) for metric in metrics]
        table.add_row(model, head, *map(_cell, cells))
    console().print(table)


def _print_metrics_as_lines(
    table: Table, metrics: Sequence[str], values: Mapping[tuple[str, str, str], float]
) -> None:
    """Fill and print a table of more metrics than fit beside each other."""
    models = dict.fromkeys((model, head) for model, head, _ in values)
    table.add_column("metric")
    for model, head in models:
        table.add_column(model if head == "-" else f"{model}, {head}", justify="right")
    for metric in metrics:
        if metric.endswith((LOW, HIGH)):
            table.caption = "[]: 95 % interval, groups of the split resampled"
            continue
        cells = []
        for model, head in models:
            value, low, high = (
                values.get((model, head, metric + end), math.nan) for end in ("", LOW, HIGH)
            )
            ends = "" if math.isnan(low) else f" \\[{low:.3f}, {high:.3f}]"
            cells.append(_cell(value) + ends)
        table.add_row(metric, *cells)
    console().print(table)


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def print_masked_lm(summaries: Mapping[tuple[str, Modality], MaskedTokenSummary]) -> None:
    """Print masked-token figures beside the guess from token frequencies alone.

    Args:
        summaries: By ``model``, ``unigram`` or ``gain`` and modality.
    """
    if not summaries:
        return
    table = Table(
        title="Masked tokens of the validation split (± standard error over windows)",
        caption="unigram: guessing from the token frequencies seen in training; better by: the "
        "difference on the same tokens",
    )
    table.add_column("modality")
    for name in (
        "tokens",
        "windows",
        "cross-entropy",
        "unigram",
        "better by",
        "accuracy",
        "unigram",
        "better by",
    ):
        table.add_column(name, justify="right")
    for modality in Modality:
        model = summaries.get(("model", modality))
        unigram = summaries.get(("unigram", modality))
        gain = summaries.get(("gain", modality))
        if model is None or unigram is None or gain is None:
            continue
        table.add_row(
            modality.value,
            f"{model.tokens:,}",
            f"{model.windows:,}",
            _with_error(model.cross_entropy, model.cross_entropy_error),
            f"{unigram.cross_entropy:.4f}",
            _with_error(gain.cross_entropy, gain.cross_entropy_error),
            _with_error(model.accuracy, model.accuracy_error),
            f"{unigram.accuracy:.4f}",
            _with_error(gain.accuracy, gain.accuracy_error),
        )
    console().print(table)


def _with_error(value: float, error: float) -> str:
    return f"{value:.4f} ±{error:.4f}"
