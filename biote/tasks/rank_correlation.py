"""Spearman correlation that has no value where there is nothing to rank."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import SpearmanCorrCoef
from torchmetrics.utilities import dim_zero_cat


class RankCorrelation(SpearmanCorrCoef):
    """`torchmetrics.SpearmanCorrCoef`, but not a number of constant predictions or targets.

    That of torchmetrics is 0 there, as if such predictions had been ranked and found wrong; scipy,
    polars and the Pearson correlation beside it say that it is not defined.
    """

    def compute(self) -> Tensor:
        """Return the correlation of every output, a scalar of one."""
        value = super().compute()
        values = (dim_zero_cat(self.preds), dim_zero_cat(self.target))
        constant = torch.stack([(column == column[:1]).all(0) for column in values]).any(0)
        return torch.where(constant.reshape(value.shape), torch.nan, value)
