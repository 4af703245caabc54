"""Rank correlation, and whether there is anything to correlate.

Legend: N numbers.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torchmetrics import SpearmanCorrCoef
from torchmetrics.utilities import dim_zero_cat

SMALLEST_VARIATION: Final = 1e-6
"""Share of their size by which numbers differ, at least, if not by rounding in single precision."""


def varies(values: Tensor) -> bool:
    """Whether numbers are not all the same: a constant has no correlation with anything.

    Args:
        values: Numbers, one or more, (N,).
    """
    size = float(values.abs().max())
    return float(values.max() - values.min()) > SMALLEST_VARIATION * size


def rank_correlation(predictions: Tensor, targets: Tensor) -> float:
    """Spearman's correlation; equal numbers share the mean of their ranks.

    That of torchmetrics adds up ranks in 32 bits, which a few ten thousand ties overflow.

    Args:
        predictions: Numbers, (N,).
        targets: Numbers, (N,).

    Returns:
        The correlation; NaN where a number is NaN, or where predictions or targets do not vary.
    """
    both = (predictions, targets)
    if not len(predictions) or any(bool(one.isnan().any()) or not varies(one) for one in both):
        return float("nan")
    first, second = (_centred_ranks(one) for one in both)
    return float((first @ second) / (first.norm() * second.norm()))


def _centred_ranks(values: Tensor) -> Tensor:
    """Ranks less their mean, float64, (N,)."""
    _, places, counts = values.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0).double() - (counts.double() - 1) / 2
    centred: Tensor = ranks[places] - (len(values) + 1) / 2
    return centred


class RankCorrelation(SpearmanCorrCoef):
    """`rank_correlation` of every output as a metric; not a number where there is nothing to rank.

    That of torchmetrics is 0 there, as if constant predictions had been ranked and found wrong;
    scipy, polars and the Pearson correlation beside it say that it is not defined.
    """

    def compute(self) -> Tensor:
        """Return the correlation of every output, a scalar of one."""
        predictions, targets = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        rows = len(predictions)
        columns = zip(predictions.reshape(rows, -1).T, targets.reshape(rows, -1).T, strict=True)
        values = [rank_correlation(*both) for both in columns]
        return torch.tensor(values[0] if predictions.ndim == 1 else values)
