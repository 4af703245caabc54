"""Attention inside the groups of a packed batch on the CPU, with little work between the kernels.

Legend: T packed tokens, H heads, d features of a head, n tokens of a group.

Through autograd every group costs a dozen views and their gradients, in small models a fifth of a
step. One function over all groups calls the kernels on slices and writes into whole tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


class GroupAttention(torch.autograd.Function):
    """softmax(q k / sqrt(d)) v inside every group; its gradient has no gradient of its own."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, lengths: tuple[int, ...]
    ) -> Tensor:
        """Attend.

        Args:
            ctx: What the gradient needs.
            queries: (T, H, d).
            keys: (T, H, d).
            values: (T, H, d).
            lengths: Tokens of every group.

        Returns:
            (T, H, d).
        """
        mixed = torch.empty_like(queries)
        log_sums = []
        for group in _groups(lengths, queries, keys, values, mixed):
            attended, log_sum = _FORWARD(*group[:3])
            group[3].copy_(attended)
            log_sums.append(log_sum)
        ctx.save_for_backward(queries, keys, values, mixed, *log_sums)
        ctx.lengths = lengths
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of queries, keys and values, (T, H, d) each."""
        saved = ctx.saved_tensors  # once: activation checkpointing computes them for one look
        *tensors, mixed = saved[:4]
        gradients = [torch.empty_like(tensor) for tensor in tensors]
        groups = _groups(ctx.lengths, gradient, *tensors, mixed, *gradients)
        for group, log_sum in zip(groups, saved[4:], strict=True):
            parts = _BACKWARD(*group[:5], log_sum, 0.0, False)
            for whole, part in zip(group[5:], parts, strict=True):
                whole.copy_(part)
        return gradients[0], gradients[1], gradients[2], None


def _groups(lengths: Sequence[int], *tensors: Tensor) -> Iterator[list[Tensor]]:
    """Views of every group, (1, H, n, d)."""
    heads_first = [tensor.transpose(0, 1).unsqueeze(0) for tensor in tensors]
    start = 0
    for length in lengths:
        yield [tensor.narrow(2, start, length) for tensor in heads_first]
        start += length
