"""The picture of a gene-protein alignment: cosines of true pairs against those of others."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.contrastive_batch import Negatives
from biote.tasks.results import HIGH, LOW

_TRUE = "#1b6ca8"
_COLOURS = {
    Negatives.ANY: "0.55",
    Negatives.WITHIN_GENOME_LENGTH_MATCHED: "#c4512d",
}
_NAMES = {
    Negatives.ANY: "another protein",
    Negatives.WITHIN_GENOME_LENGTH_MATCHED: "another, same genome and lengths",
}
_BINS = np.linspace(-1, 1, 81).tolist()


def cosine_figure(path: Path, *, predictions: Path, results: Path, subtitle: str) -> None:
    """Draw how cosines of held-out pairs are distributed, one panel for each model.

    Args:
        path: PNG to write.
        predictions: ``predictions.parquet`` of a test; output 0 is the true pair, output 1 + i the
            protein drawn from negatives i.
        results: ``results.parquet`` beside it.
        subtitle: A line under the title.

    Source: paper, figure 2 a, b.
    """
    frame, scores = pl.read_parquet(predictions), pl.read_parquet(results)
    models = frame["model"].unique(maintain_order=True).to_list()
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(4.6 * len(models), 4.4), dpi=150, layout="constrained")
        panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
        for axes, model in zip(panels, models, strict=True):
            _panel(axes, frame.filter(pl.col("model") == model), scores, model)
        panels[0].set_ylabel("density")
        panels[0].legend(frameon=False, fontsize=8, loc="upper left")
        figure.suptitle(f"Genes and their proteins, held-out pairs\n{subtitle}", fontsize=12)
        figure.savefig(path)


def _panel(axes: Axes, frame: pl.DataFrame, scores: pl.DataFrame, model: str) -> None:
    true = _cosines(frame, 0)
    axes.hist(true, _BINS, density=True, color=_TRUE, alpha=0.55, label="own protein")
    for number, kind in enumerate(Negatives):
        cosines = _cosines(frame, 1 + number)
        if kind in _NAMES and len(cosines):
            axes.hist(
                cosines, _BINS, density=True, histtype="step", linewidth=1.6,
                color=_COLOURS[kind], label=_NAMES[kind],
            )  # fmt: skip
    mine = scores.filter(pl.col("model") == model)
    values = dict(zip(mine["metric"].to_list(), mine["value"].to_list(), strict=True))
    matched = f"auroc_{Negatives.WITHIN_GENOME_LENGTH_MATCHED}"
    axes.set(
        xlim=(-1, 1),
        xlabel="cosine",
        title=f"{model} ({', '.join(mine['head'].unique().to_list())}), {len(true):,} pairs\n"
        f"AUROC {_with_interval(values, 'auroc')}\n"
        f"same genome and lengths {_with_interval(values, matched)}",
    )
    axes.title.set_fontsize(9)


def _with_interval(values: dict[str, float], metric: str) -> str:
    low, high = (values.get(f"{metric}{end}", float("nan")) for end in (LOW, HIGH))
    return f"{values[metric]:.2f}" + ("" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def _cosines(frame: pl.DataFrame, output: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = frame.filter((pl.col("output") == output) & pl.col("prediction").is_not_nan())
    return np.asarray(values["prediction"].to_numpy(), np.float64)
