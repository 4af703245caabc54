"""Rotary position encoding on adjacent (even, odd) pairs of features.

Legend: T packed tokens, D width, H heads, d features of a head.

The table of angles is made anew from the positions in every forward pass and is no buffer: a
module cast to half precision would cast a buffer with it, and a complex table that loses its
imaginary part scales queries and keys instead of rotating them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def rotary_table(
    positions: Tensor, head_width: int, *, theta: float, query_scale: float = 1.0
) -> Tensor:
    """Cosines and sines for queries and keys, float32 whatever the model's precision.

    Args:
        positions: Position of every token, (T,).
        head_width: Features of a head, d; even.
        theta: Base of the frequencies.
        query_scale: Factor of the queries' half of the table: it scales them without another
            pass over them and without rounding in half precision.

    Returns:
        (T, 2, 1, d / 2, 2): queries and keys, all heads alike, pairs, cosine and sine.

    Source: Su et al. 2021 (RoFormer), equation 34.
    """
    pairs = torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device)
    frequencies = theta ** (-pairs / head_width)
    angles = positions.to(torch.float32)[:, None] * frequencies  # (T, d / 2)
    turn = torch.stack([angles.cos(), angles.sin()], -1)  # (T, d / 2, 2)
    return torch.stack([turn * query_scale, turn], 1).unsqueeze(2)  # (T, 2, 1, d / 2, 2)


def rotate_projection(
    projection: Tensor, table: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split a fused projection and rotate its queries and keys, in float32.

    Args:
        projection: Queries, keys and values side by side, (T, 3 D).
        table: See `rotary_table`.
        heads: Number of heads, H.

    Returns:
        Queries, keys and values, (T, H, d) each, in the dtype of ``projection``.
    """
    parts = torch.unflatten(projection, -1, (3, heads, -1))  # (T, 3, H, d)
    if projection.device.type == "cpu":
        queries, keys, values = _RotateParts.apply(parts, table)  # type: ignore[no-untyped-call]
        return queries, keys, values
    rotated = _rotate_real(parts[:, :2], table)
    return rotated[:, 0], rotated[:, 1], parts[:, 2]


def _rotate_real(parts: Tensor, table: Tensor) -> Tensor:
    """Rotate (T, 2, H, d) in real arithmetic, which compilers fuse into one kernel."""
    cosine, sine = table.unbind(-1)
    even, odd = torch.unflatten(parts.float(), -1, (-1, 2)).unbind(-1)  # (T, 2, H, d / 2) each
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1)
    return turned.flatten(-2).to(parts.dtype)


class _RotateParts(torch.autograd.Function):
    """Rotation in complex arithmetic with one buffer for the whole gradient.

    Eager kernels on CPU: a third of the time of the same in real arithmetic, forward and
    backward, whose strided pairs and summed slices each take passes of their own.
    """

    @staticmethod
    def forward(ctx: Any, parts: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(table)
        pairs = torch.view_as_complex(torch.unflatten(parts[:, :2].float(), -1, (-1, 2)))
        turned = torch.view_as_real(pairs * torch.view_as_complex(table))
        rotated = turned.flatten(-2).to(parts.dtype)  # (T, 2, H, d)
        return rotated[:, 0], rotated[:, 1], parts[:, 2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (table,) = ctx.saved_tensors
        # Turning back: the conjugate, written out because a lazy one is slow to multiply by.
        turn = torch.view_as_complex(table).conj().resolve_conj()
        queries, keys, values = gradients
        tokens, heads, head_width = values.shape
        whole = values.new_empty(tokens, 3, heads, head_width)
        whole[:, 0] = queries
        whole[:, 1] = keys
        whole[:, 2] = values
        pairs = torch.unflatten(whole[:, :2].float(), -1, (-1, 2))
        torch.view_as_complex(pairs).mul_(turn)
        if whole.dtype != torch.float32:  # else the multiplication was in place
            whole[:, :2] = pairs.flatten(-2)
        return whole, None
