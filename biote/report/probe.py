"""The picture of an attention probe: what encoders' maps know, and what tuning has added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.tasks.paired_residues import CHANCE_MODEL

_METRICS: Final = ("f1", "auroc")
"""The paper's, which says little of a probe that calls hardly anything a contact, and the area."""

_COLOURS: Final = ("#1b6ca8", "#c4512d", "#3f8f4f", "#7a4fa3", "#b08900", "0.4")


def probe_figure(path: Path, table: pl.DataFrame, *, subtitle: str) -> None:
    """Draw F1 and AUROC of every model and their differences to the base, a row a subset.

    Args:
        path: PNG to write.
        table: Columns of `biote.tasks.paired_residues.PairedScore`.
        subtitle: A line under the title.
    """
    subsets = table.get_column("rows").unique(maintain_order=True).to_list()
    drawn = table.filter(pl.col("metric").is_in(_METRICS) & pl.col("fold_mean").is_not_nan())
    models = drawn.get_column("model").unique(maintain_order=True).to_list()
    colours = {model: _COLOURS[i % len(_COLOURS)] for i, model in enumerate(models)}
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(18, 3.6 * len(subsets) + 0.6), dpi=110, layout="constrained")
        panels = figure.subplots(len(subsets), 2 * len(_METRICS), squeeze=False)
        for row, subset in zip(panels, subsets, strict=True):
            lines = drawn.filter(pl.col("rows") == subset)
            size = lines.row(0, named=True)
            row[0].set(title=f"{subset}: {size['complexes']} ({size['units']} clusters)")
            for i, metric in enumerate(_METRICS):
                name, part = metric.upper(), lines.filter(pl.col("metric") == metric)
                _panel(row[2 * i], part.filter(pl.col("minus").is_null()), colours, ylabel=name)
                differences = part.filter(pl.col("minus").is_not_null())
                if differences.height:
                    base = differences.item(0, "minus")
                    _panel(
                        row[2 * i + 1], differences, colours, ylabel=f"{name} minus that of {base}"
                    )
                    row[2 * i + 1].axhline(0, color="0.6", linewidth=1, linestyle=":")
            row[0].set_ylim(bottom=0)
            row[2].axhline(0.5, color="0.6", linewidth=1, linestyle=":")
            row[0].legend(frameon=False, fontsize=9)
        figure.suptitle(
            "Contacts read from attention maps (mean over folds, 95 % interval over clusters)\n"
            f"{subtitle}",
            fontsize=12,
        )
        figure.savefig(path, format="png")


def _panel(axes: Axes, lines: pl.DataFrame, colours: Mapping[str, str], *, ylabel: str) -> None:
    labels = lines.get_column("label").unique(maintain_order=True).to_list()
    models = lines.get_column("model").unique(maintain_order=True).to_list()
    for i, model in enumerate(models):
        of_model = lines.filter(pl.col("model") == model)
        places = np.arange(len(labels)) + 0.16 * (i - (len(models) - 1) / 2)
        value, low, high = (
            of_model.get_column(name).to_numpy() for name in ("fold_mean", "fold_low", "fold_high")
        )
        chance = model == CHANCE_MODEL
        axes.errorbar(
            places,
            value,
            # A percentile interval need not hold the value itself.
            yerr=np.clip([value - low, high - value], 0, None),
            fmt="_" if chance else "o",
            color="0.6" if chance else colours[model],
            capsize=3,
            markersize=9 if chance else 5,
            linewidth=1.2,
            label="all called contacts" if chance else str(model),
        )
    axes.set(
        xticks=range(len(labels)),
        xticklabels=labels,
        xlim=(-0.6, len(labels) - 0.4),
        xlabel="distance that is a contact",
        ylabel=ylabel,
    )
