"""The picture of a painted structure: the protein's trace, the nucleic acid, and the sequence.

Legend: L residues of the protein, N nucleotides of a strand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

Coordinates = npt.NDArray[np.floating[Any]]
_COLOURS = "viridis"
_STRANDS = ("#c4512d", "#8c6d31")
_NO_VALUE = "0.8"


def structure_figure(
    path: Path,
    *,
    trace: Coordinates,
    strands: Sequence[Coordinates],
    values: Coordinates,
    near: npt.NDArray[np.bool_],
    title: str,
    label: str,
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Draw a protein coloured by the values of its residues, beside its nucleic acid.

    The structure is seen along two of its principal axes; what is behind is drawn first.

    Args:
        path: PNG to write.
        trace: C-alpha coordinates in angstrom, (L, 3), NaN where there are none.
        strands: Backbone coordinates of every strand in angstrom, (N, 3) each.
        values: Value of every residue, (L,), NaN where there is none.
        near: Residues that touch the nucleic acid, (L,); they are marked along the sequence.
        title: What is shown.
        label: What the values are.
        limits: Values at the ends of the colours.
    """
    scale = Normalize(*limits)
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 7.5), dpi=150, layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=[3, 1])
        turned, turned_strands = _principal_axes(trace, strands)
        shared: LineCollection | None = None
        for column, axes_shown in enumerate(((0, 1, 2), (0, 2, 1))):
            axes = figure.add_subplot(grid[0, column])
            order = list(axes_shown)
            shared = _draw_view(
                axes,
                turned[:, order],
                [strand[:, order] for strand in turned_strands],
                values,
                scale,
            )
            axes.set(
                xlabel=f"principal axis {axes_shown[0] + 1} (Å)",
                ylabel=f"principal axis {axes_shown[1] + 1} (Å)",
                aspect="equal",
            )
        assert shared is not None
        figure.colorbar(shared, ax=figure.axes, label=label, shrink=0.8)
        _draw_sequence(figure.add_subplot(grid[1, :]), values, near, label, limits)
        figure.suptitle(title, fontsize=12)
        figure.savefig(path)


def _principal_axes(
    trace: Coordinates, strands: Sequence[Coordinates]
) -> tuple[Coordinates, list[Coordinates]]:
    """Turn all coordinates so that the longest extent comes first."""
    everything = np.concatenate([trace, *strands])
    everything = everything[np.isfinite(everything).all(axis=1)]
    centre = everything.mean(axis=0)
    _, _, directions = np.linalg.svd(everything - centre, full_matrices=False)
    return (trace - centre) @ directions.T, [(s - centre) @ directions.T for s in strands]


def _draw_view(
    axes: Axes,
    trace: Coordinates,
    strands: Sequence[Coordinates],
    values: Coordinates,
    scale: Normalize,
) -> LineCollection:
    """Draw what is seen along the third axis; returns what the colours belong to."""
    segments, colours, depths = _segments(trace, values)
    depth_of_strands = [float(np.nanmean(strand[:, 2])) for strand in strands]
    order = np.argsort(depths)
    colours_of = mpl.colormaps[_COLOURS].with_extremes(bad=_NO_VALUE)
    lines = LineCollection(
        [segments[i] for i in order], cmap=colours_of, norm=scale, linewidths=2.5, zorder=2
    )
    shown = colours[order]
    lines.set_array(np.ma.masked_invalid(shown))
    axes.add_collection(lines)
    middle = float(np.nanmean(trace[:, 2]))
    for place, strand in enumerate(strands):
        axes.plot(
            strand[:, 0],
            strand[:, 1],
            "-o",
            color=_STRANDS[place % len(_STRANDS)],
            linewidth=2,
            markersize=3.5,
            alpha=0.8,
            zorder=3 if depth_of_strands[place] > middle else 1,
            label=f"nucleic strand {place + 1}",
        )
    axes.legend(frameon=False, fontsize=8)
    axes.autoscale_view()
    return lines


def _segments(
    trace: Coordinates, values: Coordinates
) -> tuple[list[Coordinates], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A line for every residue, to the middles between it and its resolved neighbours."""
    segments: list[Coordinates] = []
    colours, depths = [], []
    for i, place in enumerate(trace):
        if not np.isfinite(place).all():
            continue
        ends = [place]
        if i and np.isfinite(trace[i - 1]).all():
            ends.insert(0, (trace[i - 1] + place) / 2)
        if i + 1 < len(trace) and np.isfinite(trace[i + 1]).all():
            ends.append((place + trace[i + 1]) / 2)
        segments.append(np.array(ends)[:, :2])
        colours.append(values[i])
        depths.append(place[2])
    return segments, np.array(colours, np.float64), np.array(depths, np.float64)


def _draw_sequence(
    axes: Axes,
    values: Coordinates,
    near: npt.NDArray[np.bool_],
    label: str,
    limits: tuple[float, float],
) -> None:
    places = np.arange(1, len(values) + 1)
    low, high = limits
    axes.bar(
        places[near], high - low, bottom=low, width=1.0, color="0.85", label="touches nucleic acid"
    )
    axes.step(places, values, where="mid", color="#1b6ca8", linewidth=1.2, label=label)
    axes.set(xlim=(0.5, len(values) + 0.5), ylim=limits, xlabel="residue", ylabel=label)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
