"""Loss of pre-training runs by modality, as a picture and a table.

Run: python benchmarks/learning_curves.py --picture learning.png mixed=runs/mixed nucleic=... after
the runs of docs/learning.md. Lines are losses of training, averaged over neighbouring steps; points
are losses of the validation split; dotted is the guess from token frequencies alone.

The last line is one JSON object: of every run and modality the first and the last loss of the
validation split and the guess's, in nats a masked token.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biote.report.scalars import read_scalars

MODALITIES = ("nucleic", "protein")
COLOURS = {"mixed": "#7a3b9d", "nucleic": "#1b6ca8", "protein": "#c4512d"}
NEIGHBOURS = 9
MARGIN = 0.06  # nats


def draw(axes: Axes, modality: str, runs: dict[str, Path]) -> None:
    """Draw the curves of one modality.

    Args:
        axes: Where.
        modality: Which losses.
        runs: Run folders by name.
    """
    shown: list[float] = []
    for name, folder in runs.items():
        colour = COLOURS.get(name, "0.3")
        training = read_scalars(folder, f"train_loss_{modality}")
        validation = read_scalars(folder, f"val_loss_{modality}")
        if not validation:
            continue  # a run on the other modality alone
        steps, losses = np.array(training).T
        seen = np.isfinite(losses)
        window = np.ones(NEIGHBOURS) / NEIGHBOURS
        smooth = np.convolve(losses[seen], window, mode="valid")
        half = NEIGHBOURS // 2
        axes.plot(steps[seen][half : half + len(smooth)], smooth, color=colour, alpha=0.5, lw=1)
        axes.plot(*zip(*validation, strict=True), "o-", color=colour, markersize=5, label=name)
        guess = read_scalars(folder, f"val_unigram_loss_{modality}")[-1][1]
        axes.axhline(guess, color="0.5", linewidth=1, linestyle=":")
        shown += [guess, *(loss for _, loss in validation)]
    if shown:
        axes.set_ylim(min(shown) - MARGIN / 2, max(shown) + MARGIN)
    axes.set(title=modality, xlabel="optimiser step", ylabel="cross-entropy (nats a masked token)")
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture and print the losses."""
    parser = argparse.ArgumentParser(description="Draw the losses of pre-training runs.")
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--picture", type=Path, default=Path("learning.png"))
    options = parser.parse_args(arguments)
    runs = {name: Path(folder) for name, folder in (run.split("=", 1) for run in options.runs)}
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
        for axes, modality in zip(figure.subplots(1, 2), MODALITIES, strict=True):
            draw(axes, modality, runs)
        figure.savefig(options.picture)
    losses = {
        name: {
            modality: {"first": curve[0][1], "last": curve[-1][1], "unigram": guess[-1][1]}
            for modality in MODALITIES
            if (curve := read_scalars(folder, f"val_loss_{modality}"))
            and (guess := read_scalars(folder, f"val_unigram_loss_{modality}"))
        }
        for name, folder in runs.items()
    }
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
