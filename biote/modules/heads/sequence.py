"""Heads that predict for a group of sequences.

Legend: T packed tokens, B groups, D width, C outputs.
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor
from torch.nn import functional

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.heads.base import Head
from biote.modules.pooling import Pooling, checked_pooling, pool
from biote.modules.readout import HEAD_BASE_WIDTH, PRETRAINING_BASE_WIDTH, Readout

_POOLING: Final = "model.head.init_args.pooling"


class SequenceHead(Head):
    """Linear head on one state per group.

    Args:
        width: Width of the states, D.
        n_outputs: Number of outputs, C.
        pooling: State of a group: its first token, or the mean over its tokens.

    Raises:
        ConfigError: If the pooling is unknown.

    Source: paper, Methods (fine-tuning): linear on the first token.
    """

    level = "group"

    def __init__(self, width: int, n_outputs: int, *, pooling: Pooling = "first") -> None:
        super().__init__(width, n_outputs)
        self.pooling = checked_pooling(pooling, where=_POOLING)
        self.readout = Readout(width, n_outputs, base_width=HEAD_BASE_WIDTH, bias=True)

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        predictions: Tensor = self.readout(pool(states, batch, self.pooling))
        return predictions


class MLPHead(Head):
    """Head with one hidden layer (GELU) on one state per group.

    Heads have one learning rate for all their weights. The hidden layer is therefore a readout
    too: its factor stands for the 1 / D that muP gives a hidden matrix, and its larger initial
    weights undo the factor at the start.

    Args:
        width: Width of the states, D.
        n_outputs: Number of outputs, C.
        hidden_width: Width of the hidden layer; null takes the encoder's.
        pooling: State of a group: its first token, or the mean over its tokens.

    Raises:
        ConfigError: If the pooling is unknown or the hidden layer has no width.
    """

    level = "group"

    def __init__(
        self,
        width: int,
        n_outputs: int,
        *,
        hidden_width: int | None = None,
        pooling: Pooling = "first",
    ) -> None:
        super().__init__(width, n_outputs)
        hidden_width = width if hidden_width is None else hidden_width
        if hidden_width < 1:
            raise ConfigError(
                f"a hidden layer of width {hidden_width}",
                where="model.head.init_args.hidden_width",
                mend="give a positive number, or null for the encoder's width",
            )
        self.pooling = checked_pooling(pooling, where=_POOLING)
        self.hidden = Readout(
            width,
            hidden_width,
            base_width=PRETRAINING_BASE_WIDTH,
            bias=True,
            std=math.sqrt(width) / PRETRAINING_BASE_WIDTH,
        )
        self.readout = Readout(hidden_width, n_outputs, base_width=HEAD_BASE_WIDTH, bias=True)

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        hidden = functional.gelu(self.hidden(pool(states, batch, self.pooling)))
        predictions: Tensor = self.readout(hidden)
        return predictions
