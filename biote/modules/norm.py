"""The encoder's layer norm.

Legend: D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from biote.modules.initialisation import Initial, initialise


class Norm(nn.Module):
    """``alpha * (x - mean) / (std + 1e-5) + gamma``, ``std`` unbiased, over the last dimension.

    Computed as a fused layer norm, whose biased deviation is ``sqrt((D - 1) / D)`` of the
    unbiased one. Its epsilon of 1e-10 sits under the root: the two agree within 1e-5 relative
    where the deviation is 1 or more, and at a deviation of 0.

    Args:
        width: Size of the last dimension, D.

    Source: released checkpoints (parameters ``alpha`` and ``gamma``).
    """

    _EPSILON = 1e-10

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(width))
        self.gamma = nn.Parameter(torch.empty(width))
        self._unbiased = math.sqrt((width - 1) / width)
        initialise(self, seed=None)

    def initial(self, name: str) -> Initial:
        """Scale 1, shift 0."""
        return Initial(mean=1.0 if name == "alpha" else 0.0)

    def forward(self, states: Tensor) -> Tensor:
        """Normalise.

        Args:
            states: Any shape (..., D).
        """
        weight = self.alpha * self._unbiased
        return functional.layer_norm(states, weight.shape, weight, self.gamma, self._EPSILON)
