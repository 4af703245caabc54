"""Heads that predict for every token.

Legend: T packed tokens, D width, C outputs.
"""

from __future__ import annotations

from torch import Tensor

from biote.batch import PackedBatch
from biote.modules.heads.base import Head
from biote.modules.readout import HEAD_BASE_WIDTH, Readout


class ResidueHead(Head):
    """Linear on every token; the task gives each residue its token's prediction.

    Args:
        width: Width of the states, D.
        n_outputs: Number of outputs, C.

    Source: paper, Methods (residue tasks).
    """

    level = "token"

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__(width, n_outputs)
        self.readout = Readout(width, n_outputs, base_width=HEAD_BASE_WIDTH, bias=True)

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        predictions: Tensor = self.readout(states)
        return predictions
