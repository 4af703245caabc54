"""The picture of a scan: Delta-Delta-G of every substitution beside the profile's logo.

Legend: L positions of the site, K positions of the profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from biote.report.logo import BASES, draw_logo

Floats = npt.NDArray[np.float64]

_LEAST_RANGE_KCAL_MOL: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class PlacedLogo:
    """A profile on a site, read along the site's own strand."""

    title: str
    frequencies: Floats
    """Shares of A, C, G, T, (4, K)."""

    information_bits: Floats
    """Information of each position, (K,)."""

    first: int
    """Position of the site, from 0, that the first column stands at; may be negative."""


def scan_figure(
    path: Path, *, site: str, ddg_kcal_mol: Floats, title: str, logo: PlacedLogo | None = None
) -> None:
    """Draw a heat map of substitutions, under the logo of a profile where there is one.

    Args:
        path: PNG to write.
        site: The site, L bases.
        ddg_kcal_mol: Delta-Delta-G of A, C, G, T at each position, (4, L); NaN for the base that
            is there.
        title: What was scanned.
        logo: Profile of the protein, placed on the site.
    """
    length = len(site)
    width = max(6.0, 0.42 * length + 2.2)
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(width, 4.6 if logo else 3.0), dpi=150, layout="constrained")
        if logo is None:
            below = figure.subplots()
        else:
            above, below = figure.subplots(
                2, 1, sharex=True, gridspec_kw={"height_ratios": [1.1, 1]}
            )
            draw_logo(above, logo.frequencies, logo.information_bits, first=logo.first)
            above.set(ylabel="bits", title=logo.title)
            above.tick_params(labelbottom=False)
            above.spines[["top", "right"]].set_visible(False)
        known = np.abs(ddg_kcal_mol[np.isfinite(ddg_kcal_mol)])
        most = max(float(known.max(initial=0.0)), _LEAST_RANGE_KCAL_MOL)
        image = below.imshow(
            np.ma.masked_invalid(ddg_kcal_mol),
            cmap="RdBu_r",
            norm=TwoSlopeNorm(0.0, -most, most),
            aspect="auto",
        )
        for i, base in enumerate(site):
            row = BASES.index(base)
            below.add_patch(Rectangle((i - 0.5, row - 0.5), 1, 1, facecolor="0.92", linewidth=0))
            below.text(i, row, base, ha="center", va="center", color="0.35")
        left = min(0, logo.first) if logo else 0
        right = max(length, logo.first + logo.frequencies.shape[1]) if logo else length
        below.set(
            xlim=(left - 0.5, right - 0.5),
            xticks=range(length),
            xticklabels=[f"{base}\n{i + 1}" for i, base in enumerate(site)],
            yticks=range(len(BASES)),
            yticklabels=list(BASES),
            xlabel="site and position",
            ylabel="new base",
        )
        figure.colorbar(
            image, ax=below, label="ΔΔG (kcal/mol)", pad=0.01, ticks=MaxNLocator(5, symmetric=True)
        )
        figure.suptitle(title)
        figure.savefig(path)
