"""The picture of a Delta G run: predicted against measured, and how pre-training went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.modules.base import PRETRAINED
from biote.report.scalars import Curve

_COLOURS = {"nucleic": "#1b6ca8", "protein": "#c4512d"}


def delta_g_figure(
    path: Path, *, predictions: Path, curves: Mapping[str, Curve], subtitle: str
) -> None:
    """Draw predicted against measured Delta G beside the pre-training loss.

    Args:
        path: PNG to write.
        predictions: ``predictions.parquet`` of a test.
        curves: Pre-training loss by name; a name with ``validation`` is drawn as points, one with
            ``unigram`` as a line at its last value.
        subtitle: A line under the title, for example where the data come from.
    """
    frame = pl.read_parquet(predictions)
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 5), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        _scatter(left, frame)
        _losses(right, curves)
        figure.suptitle(f"Binding free energy of held-out proteins\n{subtitle}", fontsize=12)
        figure.savefig(path)


def _scatter(axes: Axes, frame: pl.DataFrame) -> None:
    shown = frame.filter(pl.col("model") == PRETRAINED)
    measured, predicted = shown["target"].to_numpy(), shown["prediction"].to_numpy()
    mean = frame.filter(pl.col("model") == "train mean")["prediction"]
    axes.scatter(measured, predicted, s=9, alpha=0.35, linewidths=0, color=_COLOURS["nucleic"])
    low = float(min(measured.min(), predicted.min())) - 0.5
    high = float(max(measured.max(), predicted.max())) + 0.5
    axes.plot([low, high], [low, high], color="0.4", linewidth=1, label="measured = predicted")
    if len(mean):
        axes.axhline(float(mean[0]), color="0.6", linewidth=1, linestyle=":", label="train mean")
    pcc = float(np.corrcoef(measured, predicted)[0, 1]) if predicted.std() > 0 else math.nan
    mae = float(np.abs(measured - predicted).mean())
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
        xlabel="measured ΔG (kcal/mol)",
        ylabel="predicted ΔG (kcal/mol)",
        title=f"{len(measured):,} rows: PCC {pcc:.2f}, MAE {mae:.2f} kcal/mol",
        aspect="equal",
    )
    axes.legend(frameon=False, loc="upper left")


def _losses(axes: Axes, curves: Mapping[str, Curve]) -> None:
    for name, curve in curves.items():
        points = [(step, value) for step, value in curve if math.isfinite(value)]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        colour = _COLOURS.get(name.split(",")[0], "0.3")
        if "unigram" in name:
            axes.axhline(values[-1], color=colour, linewidth=1, linestyle=":", label=name)
        elif "validation" in name:
            axes.plot(steps, values, "o", color=colour, markersize=5, label=name)
        else:
            axes.plot(steps, values, color=colour, linewidth=1.2, alpha=0.8, label=name)
    axes.set(
        xlabel="optimiser step",
        ylabel="cross-entropy at masked tokens (nats)",
        title="Pre-training",
    )
    axes.legend(frameon=False, fontsize=9)
