"""Pictures of muP: activation sizes over width, and loss over learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from biote.atomic import atomic_path
from biote.tasks.coordinate_check import judged

TITLES: Final = {"mup": "muP", "standard": "standard parametrisation"}
_SHOWN_ABOVE_LOWEST = 0.15
_Colour = tuple[float, float, float, float]
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def coordinate_figure(path: Path, sizes: pl.DataFrame, *, subtitle: str) -> None:
    """Draw sizes of activations against width: a row a parametrisation, a line a step.

    Shown are the last block and the logits, these after the first step.

    Args:
        path: PNG to write.
        sizes: ``parametrisation``, ``width``, ``seed``, ``step``, ``activation`` and ``size``.
        subtitle: A line under the title.
    """
    shown = sizes["activation"].unique(maintain_order=True).to_list()[-4:]
    names = [name for name in TITLES if name in sizes["parametrisation"].to_list()]
    keys = ["parametrisation", "activation", "step", "width"]
    steps = sorted(sizes["step"].unique().to_list())
    colours = dict(zip(steps, _colours(len(steps)), strict=True))
    means = judged(sizes).group_by(keys).agg(pl.col("size").log().mean().exp()).sort(keys)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(12, 1 + 2.7 * len(names)), dpi=110, layout="constrained")
        panels = figure.subplots(len(names), len(shown), sharex=True, sharey="col", squeeze=False)
        for row, name in zip(panels, names, strict=True):
            for axes, activation in zip(row, shown, strict=True):
                here = (pl.col("parametrisation") == name) & (pl.col("activation") == activation)
                _coordinate_panel(axes, means.filter(here), colours)
            row[0].set(ylabel=f"{TITLES[name]}\nmean absolute size")
        for axes, activation in zip(panels[0], shown, strict=True):
            axes.set(title=activation)
        for axes in panels[-1]:
            axes.set(xlabel="width")
        panels[0, 0].legend(frameon=False, title="steps taken", ncols=2, fontsize=8)
        figure.suptitle(f"Coordinate check: {subtitle}", fontsize=10)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png")


def _coordinate_panel(axes: Axes, means: pl.DataFrame, colours: dict[int, _Colour]) -> None:
    for step in means["step"].unique(maintain_order=True).to_list():
        line = means.filter(pl.col("step") == step)
        label, colour = f"{step}", colours[step]
        axes.plot(line["width"], line["size"], "-o", color=colour, markersize=3.5, label=label)
    axes.set(xscale="log", yscale="log")
    widths = sorted(means["width"].unique().to_list())
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.xaxis.set_minor_locator(NullLocator())


def transfer_figure(path: Path, losses: pl.DataFrame, *, subtitle: str) -> None:
    """Draw loss against learning rate, a line a width and a panel a parametrisation.

    Losses more than 0.15 nats above the lowest are off the picture.

    Args:
        path: PNG to write.
        losses: ``parametrisation``, ``width``, ``lr`` and ``loss``, which is NaN where training
            diverged.
        subtitle: A line under the title.
    """
    names = [name for name in TITLES if name in losses["parametrisation"].to_list()]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(1 + 4.8 * len(names), 4.8), dpi=110, layout="constrained")
        panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _transfer_panel(axes, losses.filter(pl.col("parametrisation") == name))
            axes.set(title=TITLES[name])
        panels[0].set(ylabel="validation loss (nats a masked token)")
        lowest = losses.filter(pl.col("loss").is_finite())["loss"].to_numpy().min(initial=np.inf)
        if np.isfinite(lowest):  # the differences that matter are near the lowest loss
            panels[0].set_ylim(lowest - 0.01, lowest + _SHOWN_ABOVE_LOWEST)
        panels[0].legend(frameon=False, title="width")
        figure.suptitle(subtitle, fontsize=10)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png")


def _transfer_panel(axes: Axes, losses: pl.DataFrame) -> None:
    widths = sorted(losses["width"].unique().to_list())
    for colour, width in zip(_colours(len(widths)), widths, strict=True):
        curve = losses.filter(pl.col("width") == width).sort("lr")
        rates, values = curve["lr"].to_numpy(), curve["loss"].to_numpy()
        axes.plot(rates, values, "-o", color=colour, markersize=4, label=f"{width}")
        if np.isfinite(values).any():
            best = int(np.nanargmin(values))
            axes.plot(rates[best], values[best], "*", color=colour, markersize=13)
    axes.set(xscale="log", xlabel="learning rate")


def _colours(count: int) -> list[_Colour]:
    """Light for the narrowest, dark for the widest."""
    return [tuple(c) for c in mpl.colormaps["viridis_r"](np.linspace(0.15, 0.95, count))]
