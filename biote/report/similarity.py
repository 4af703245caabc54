"""The picture of a split: how similar test proteins are to the nearest training protein."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.splits.similarity import Nearest

_COLOURS = ("#1b6ca8", "#c4512d", "#3f8f4f", "#7a4fa3", "0.4")


def similarity_figure(
    path: Path, nearest: Mapping[str, Sequence[Nearest]], *, threshold: float
) -> None:
    """Draw histograms of the best score and of its identity, a line a split.

    Args:
        path: PNG to write.
        nearest: What `biote.splits.similarity.nearest_training_proteins` gives, by name.
        threshold: Score above which proteins are similar, drawn as a line.
    """
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 4.5), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        scores = {name: [pair.score for pair in pairs] for name, pairs in nearest.items()}
        identities = {
            name: [100 * pair.identity for pair in pairs] for name, pairs in nearest.items()
        }
        every = [score for values in scores.values() for score in values]
        low, high = min([0.0, *every]), max([5.5, *every])
        _histogram(left, scores, np.arange(np.floor(4 * low) / 4, high + 0.25, 0.25).tolist())
        left.axvline(threshold, color="0.3", linewidth=1, linestyle="--")
        left.annotate(
            f"similar: above {threshold:g}",
            (threshold, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
            color="0.3",
        )
        left.set(xlabel="BLOSUM62 score per residue")
        _histogram(right, identities, [5.0 * i for i in range(21)])
        right.set(xlabel="identical residues (% of the longer protein)")
        handles, labels = left.get_legend_handles_labels()
        right.legend(handles, labels, frameon=False, loc="upper right")
        figure.suptitle("Test proteins and the most similar protein outside their fold")
        figure.savefig(path, format="png")


def _histogram(axes: Axes, values: Mapping[str, Sequence[float]], edges: list[float]) -> None:
    for i, (name, numbers) in enumerate(values.items()):
        axes.hist(
            numbers,
            bins=edges,
            histtype="step",
            linewidth=1.6,
            color=_COLOURS[i % len(_COLOURS)],
            label=f"{name} ({len(numbers):,} proteins)",
        )
    # A few leaks beside hundreds of unrelated proteins would not be seen on a linear axis.
    axes.set(ylabel="test proteins", yscale="symlog", ylim=(0, None))
