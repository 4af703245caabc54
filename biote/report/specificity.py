"""The picture of a JASPAR test: Delta-Delta-G at own sites beside controls, and by information."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.tasks.specificity import ALL_MUTANTS, FACTOR_MEAN, MATCHED

_COLOURS: Final = {"matched": "#1b6ca8", "other_family": "#c4512d", "shuffled": "#8a8a8a"}
_LEGEND: Final[dict[str, Any]] = {"frameon": False, "fontsize": 9, "columnspacing": 1.2}
_LABELS: Final = {
    "matched": "factor at its own site",
    "other_family": "factor of another family",
    "shuffled": "shuffled consensus",
}


def specificity_figure(path: Path, table: pl.DataFrame) -> None:
    """Draw mean Delta-Delta-G with its interval for each control, and for strata of information.

    Args:
        path: PNG to write.
        table: What `biote.tasks.specificity.specificity_table` gives; a row of panels a model.
    """
    models = table.get_column("model").unique(maintain_order=True).to_list()
    means = table.filter(pl.col("statistic") == FACTOR_MEAN)
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4.2 * len(models)), dpi=150, layout="constrained")
        panels = figure.subplots(len(models), 2, squeeze=False)
        for row, model in zip(panels, models, strict=True):
            of_model = means.filter(pl.col("model") == model)
            _controls(row[0], of_model.filter(pl.col("stratum") == ALL_MUTANTS), str(model))
            _strata(row[1], of_model.filter(pl.col("control") == MATCHED))
        figure.suptitle("Predicted ΔΔG of mutated consensus sites (95 % interval over families)")
        figure.savefig(path)


def _controls(axes: Axes, means: pl.DataFrame, model: str) -> None:
    probabilities = means.get_column("probability").unique().sort().to_list()
    controls = means.get_column("control").unique(maintain_order=True).to_list()
    for i, control in enumerate(controls):
        part = means.filter(pl.col("control") == control).sort("probability")
        places = [probabilities.index(p) for p in part.get_column("probability")]
        _points(
            axes,
            np.array(places, np.float64) + 0.16 * (i - (len(controls) - 1) / 2),
            part,
            colour=_COLOURS.get(control, "0.3"),
            label=_LABELS.get(control, control),
        )
    axes.axhline(0, color="0.6", linewidth=1, linestyle=":")
    axes.set(
        xticks=range(len(probabilities)),
        xticklabels=[f"{p:g}" for p in probabilities],
        xlim=(-0.6, len(probabilities) - 0.4),
        xlabel="probability of each base to be replaced",
        ylabel="mean ΔΔG over proteins (kcal/mol)",
        title=model,
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, **_LEGEND)


def _strata(axes: Axes, means: pl.DataFrame) -> None:
    strata = means.filter(pl.col("stratum") != ALL_MUTANTS)
    names = strata.get_column("stratum").unique().sort().to_list()
    probabilities = strata.get_column("probability").unique().sort().to_list()
    shades = mpl.colormaps["Blues"](np.linspace(0.9, 0.45, max(1, len(probabilities))))
    for i, probability in enumerate(probabilities):
        part = strata.filter(pl.col("probability") == probability).sort("stratum")
        places = [names.index(name) for name in part.get_column("stratum")]
        shift = 0.14 * (i - (len(probabilities) - 1) / 2)
        _points(
            axes,
            np.array(places, np.float64) + shift,
            part,
            colour=shades[i],
            label=f"p = {probability:g}",
        )
    axes.axhline(0, color="0.6", linewidth=1, linestyle=":")
    axes.set(
        xticks=range(len(names)),
        xticklabels=names,
        xlabel="mean information of the changed positions (bits)",
        title="factor at its own site",
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, **_LEGEND)


def _points(
    axes: Axes, places: npt.NDArray[np.float64], part: pl.DataFrame, *, colour: Any, label: str
) -> None:
    values = part.get_column("value").to_numpy()
    spread = np.stack(
        [values - part.get_column("low").to_numpy(), part.get_column("high").to_numpy() - values]
    )
    axes.errorbar(
        places, values, yerr=np.maximum(spread, 0), fmt="o", color=colour, capsize=3, label=label
    )
