"""One state for each group.

Legend: T packed tokens, B groups, D width.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.unpack import mean_of_groups

Pooling = Literal["first", "mean"]


def checked_pooling(pooling: Pooling, *, where: str) -> Pooling:
    """Return a pooling if there is one of that name.

    Args:
        pooling: Name to check.
        where: Configuration key it comes from.

    Raises:
        ConfigError: If it is unknown.
    """
    if pooling not in get_args(Pooling):
        raise ConfigError(
            f"unknown pooling {pooling!r}",
            where=where,
            mend=f"accepted: {', '.join(get_args(Pooling))}",
        )
    return pooling


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
