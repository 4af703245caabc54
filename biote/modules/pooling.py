"""One state for each group.

Legend: T packed tokens, B groups, D width.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from biote.batch import PackedBatch
from biote.modules.unpack import mean_of_groups

Pooling = Literal["first", "mean"]


def pool(states: Tensor, batch: PackedBatch, pooling: Pooling) -> Tensor:
    """One state per group.

    Args:
        states: Encoder states, (T, D).
        batch: Packed batch the states belong to.
        pooling: The group's first token, or the mean over all its tokens.

    Returns:
        (B, D).
    """
    if pooling == "first":
        return states.index_select(0, batch.first_tokens)
    return mean_of_groups(states, batch)
