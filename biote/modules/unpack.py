"""Packed states to padded ones and back, and their mean over a group.

Legend: T packed tokens, B groups, L longest group, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from biote.batch import PackedBatch


def group_of_tokens(batch: PackedBatch) -> Tensor:
    """Index of the group of every token, (T,), without asking the device."""
    sizes = batch.cu_seqlens.diff().long()
    groups = torch.arange(batch.n_groups, device=sizes.device)
    return torch.repeat_interleave(groups, sizes, output_size=batch.n_tokens)


def unpack(states: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Lay every group into a row of its own.

    Args:
        states: One row per token, (T, ...).
        batch: Packed batch the states belong to.

    Returns:
        Padded states with zeros at the end of short rows, (B, L, ...), and a mask that is true
        at tokens, (B, L).

    Raises:
        ValueError: If ``states`` and ``batch`` disagree in T.
    """
    slots = _slots(states.shape[0], batch)
    rows, columns = batch.n_groups, max(batch.lengths)
    padded = states.new_zeros(rows * columns, *states.shape[1:]).index_copy(0, slots, states)
    mask = torch.zeros(rows * columns, dtype=torch.bool, device=states.device)
    mask = mask.index_fill(0, slots, True)
    shape = (rows, columns)
    return torch.unflatten(padded, 0, shape), torch.unflatten(mask, 0, shape)


def pack(padded: Tensor, batch: PackedBatch) -> Tensor:
    """Take the tokens out of padded rows: the inverse of `unpack`.

    Args:
        padded: One row per group, (B, L, ...).
        batch: Packed batch the rows belong to.

    Returns:
        (T, ...).

    Raises:
        ValueError: If ``padded`` and ``batch`` disagree in B or L.
    """
    if tuple(padded.shape[:2]) != (batch.n_groups, max(batch.lengths)):
        raise ValueError(
            f"padded states of {tuple(padded.shape[:2])} for {batch.n_groups} groups of up to "
            f"{max(batch.lengths)} tokens"
        )
    return padded.flatten(0, 1).index_select(0, _slots(batch.n_tokens, batch))


def mean_of_groups(states: Tensor, batch: PackedBatch) -> Tensor:
    """Mean over all tokens of each group, tags and end tokens included.

    Args:
        states: Encoder states, (T, D).
        batch: Packed batch the states belong to.

    Returns:
        (B, D).

    Raises:
        ValueError: If ``states`` and ``batch`` disagree in T.
    """
    padded, mask = unpack(states, batch)
    total = padded.float().sum(1)  # padding is zero
    return (total / mask.sum(1, keepdim=True)).to(states.dtype)


def _slots(tokens: int, batch: PackedBatch) -> Tensor:
    """Where every token stands in rows of L laid end to end, (T,)."""
    if tokens != batch.n_tokens:
        raise ValueError(f"{tokens} states for a batch of {batch.n_tokens} tokens")
    groups = group_of_tokens(batch)
    columns = torch.arange(tokens, device=groups.device) - batch.first_tokens[groups]
    return groups * max(batch.lengths) + columns
