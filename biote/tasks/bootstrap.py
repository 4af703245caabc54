"""Confidence intervals from resampling whole units: proteins, clusters, families.

Legend: U units, R replicates.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

CONFIDENCE: Final = 0.95

Floats = npt.NDArray[np.float64]


def draws(units: int, *, replicates: int, seed: int) -> Floats:
    """How often each unit is drawn in each replicate, with replacement, (R, U).

    Args:
        units: Number of units, U.
        replicates: Number of replicates, R.
        seed: Chooses them.
    """
    drawn = np.random.default_rng(seed).multinomial(
        units, np.full(units, 1 / units), size=replicates
    )
    return drawn.astype(np.float64)


def interval(values: Floats) -> tuple[float, float]:
    """Both ends of the percentile interval of `CONFIDENCE`.

    Args:
        values: A score in every replicate, (R,); NaN where it is not defined.

    Returns:
        Both ends, among the replicates that have a value; NaN where none has.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan, math.nan
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [outside, 1 - outside])
    return float(low), float(high)
