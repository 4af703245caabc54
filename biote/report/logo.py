"""Sequence logos: letters as high as the information they carry.

Legend: L positions.

Source: Schneider and Stephens, Sequence logos (Nucleic Acids Research 18, 6097).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

BASES: Final = "ACGT"
COLOURS: Final = {"A": "#2e8b57", "C": "#1b6ca8", "G": "#e69f00", "T": "#c0392b"}
MOST_BITS: Final = 2.0

_FONT: Final = FontProperties(family="DejaVu Sans Mono", weight="bold")
_WIDTH: Final = 0.9  # of a column
_SMALLEST_BITS: Final = 1e-3  # below it nothing can be seen


def draw_logo(
    axes: Axes,
    frequencies: npt.NDArray[np.float64],
    information_bits: npt.NDArray[np.float64],
    *,
    first: float = 0.0,
) -> None:
    """Draw a logo; its columns are centred at ``first``, ``first + 1`` and so on.

    Args:
        axes: Where to draw; limits of x are left alone, y is 0 to 2 bits.
        frequencies: Shares of A, C, G, T at each position, (4, L).
        information_bits: Height of each position, (L,).
        first: x of the first column.
    """
    for column, bits in enumerate(information_bits):
        bottom = 0.0
        for i in np.argsort(frequencies[:, column], kind="stable"):
            height = float(frequencies[i, column] * bits)
            if height >= _SMALLEST_BITS:
                _draw_letter(axes, BASES[i], first + column, bottom, height)
            bottom += height
    axes.set_ylim(0, MOST_BITS)


def _draw_letter(axes: Axes, letter: str, centre: float, bottom: float, height: float) -> None:
    """Stretch the outline of a letter to a box."""
    outline = _outline(letter)
    box = outline.get_extents()
    stretch = (
        Affine2D()
        .translate(-box.x0, -box.y0)
        .scale(_WIDTH / box.width, height / box.height)
        .translate(centre - _WIDTH / 2, bottom)
    )
    patch = PathPatch(
        outline, facecolor=COLOURS[letter], linewidth=0, transform=stretch + axes.transData
    )
    axes.add_patch(patch)


@lru_cache(maxsize=len(BASES))
def _outline(letter: str) -> Outline:
    return TextPath((0, 0), letter, size=1, prop=_FONT)
