"""Attention inside the groups of a packed batch: one interface, three backends.

Legend: T packed tokens, B groups, D width, H heads, d features of a head, n tokens of a group.

No backend builds a mask: a group sees itself because only its own tokens are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.config import AttentionBackend, EncoderConfig
from biote.modules.cpu_attention import GroupAttention
from biote.modules.initialisation import HiddenLinear
from biote.modules.rotary import rotary_table, rotate_projection

Maps = tuple[Tensor, ...]
"""Attention of every group, (H, n, n) each, float32: rows are queries and sum to 1."""

_VARLEN_DTYPES = (torch.bfloat16, torch.float16)
_VARLEN_HEAD_WIDTHS = range(8, 257, 8)
_SOFTMAX_SCALE = 8.0


class GroupLayout:
    """What every layer needs to know of a batch, made once per forward pass.

    A plain class on purpose: mixed precision of sharded modules casts every floating-point tensor
    it finds in a module's inputs, in dataclasses too, and would damage the float32 table.

    Args:
        table: Rotary table with the softmax scale in the queries' half, float32,
            (T, 2, 1, d / 2, 2).
        cu_seqlens: First token of every group and T at the end, (B + 1,), int32.
        lengths: Tokens of every group, B numbers.

    Raises:
        ValueError: If a group is empty or the groups are not the whole batch.
    """

    def __init__(self, table: Tensor, cu_seqlens: Tensor, lengths: tuple[int, ...]) -> None:
        if min(lengths) < 1 or sum(lengths) != len(table):
            # The kernels trust this: an empty group would end the process, a gap return garbage.
            raise ValueError(f"groups of {sum(lengths)} tokens in a batch of {len(table)}")
        self.table = table
        self.cu_seqlens = cu_seqlens
        self.lengths = lengths
        self.longest = max(lengths)


def group_layout_of(batch: PackedBatch, config: EncoderConfig) -> GroupLayout:
    """Make the layout of a batch.

    Attention is softmax(8 / D x q k), the muP rule. All backends divide by sqrt(d), which every
    kernel does by itself; the rest of the scale is in the rotary table.

    Args:
        batch: Packed batch.
        config: Sizes of the encoder.

    Source: paper, Methods (muP); released checkpoints.
    """
    scale = _SOFTMAX_SCALE / config.width
    table = rotary_table(
        batch.positions,
        config.head_width,
        theta=config.rope_theta,
        query_scale=scale * math.sqrt(config.head_width),
    )
    return GroupLayout(table, batch.cu_seqlens, batch.lengths)


class Attention(nn.Module):
    """Multi-head attention without biases.

    Args:
        config: Sizes of the encoder.
        dropout: Share of the attention weights dropped in training.
    """

    def __init__(self, config: EncoderConfig, dropout: float = 0.0) -> None:
        super().__init__()
        std = config.width**-0.5
        self.qkv = HiddenLinear(config.width, 3 * config.width, std=std)
        self.out = HiddenLinear(config.width, config.width, std=std)
        self._heads = config.heads
        self._backend: AttentionBackend = config.attention
        self._dropout = dropout

    def forward(
        self, states: Tensor, layout: GroupLayout, *, with_maps: bool = False
    ) -> tuple[Tensor, Maps | None]:
        """Attend inside every group.

        Args:
            states: Normalised states, (T, D).
            layout: Layout of the batch.
            with_maps: Whether to use the explicit backend and return its maps.

        Returns:
            Update of the states, (T, D), and the maps where they were asked for.

        Raises:
            ConfigError: If the backend cannot run on this device or in this precision.
        """
        queries, keys, values = rotate_projection(self.qkv(states), layout.table, self._heads)
        dropout = self._dropout if self.training else 0.0
        backend = (
            "explicit" if with_maps else select_backend(self._backend, queries, dropout=dropout)
        )
        maps: Maps | None = None
        if backend == "varlen":
            mixed = attend_varlen(queries, keys, values, layout)
        elif backend == "sdpa":
            mixed = _SDPA(queries, keys, values, layout, dropout=dropout)
        else:
            mixed, maps = _EXPLICIT(queries, keys, values, layout, dropout=dropout)
        update: Tensor = self.out(mixed.flatten(-2))  # (T, D)
        return update, maps if with_maps else None


def select_backend(
    wanted: AttentionBackend, queries: Tensor, *, dropout: float = 0.0
) -> Literal["varlen", "sdpa", "explicit"]:
    """Choose the backend for a device and precision.

    Args:
        wanted: Backend of the configuration.
        queries: Rotated queries, (T, H, d).
        dropout: Share of attention weights to drop, which the varlen kernel cannot.

    Raises:
        ConfigError: If ``varlen`` is asked for where its kernel cannot run.
    """
    if wanted == "varlen" and dropout:
        raise ConfigError(
            "the varlen kernel drops no attention weights",
            where="model.dropout.attention",
            mend="set it to 0, or model.encoder.attention to sdpa",
        )
    runs_varlen = (
        queries.device.type == "cuda"
        and queries.dtype in _VARLEN_DTYPES
        and queries.shape[-1] in _VARLEN_HEAD_WIDTHS
        and not dropout
    )
    if wanted == "auto":
        return "varlen" if runs_varlen else "sdpa"
    if wanted == "varlen" and not runs_varlen:
        raise ConfigError(
            f"varlen cannot run on {queries.device.type} in {queries.dtype} with heads of width "
            f"{queries.shape[-1]}",
            where="model.encoder.attention",
            mend="use auto, or a CUDA device, bf16 precision and a head width that is a multiple "
            "of 8 up to 256",
        )
    return wanted


def attend_varlen(queries: Tensor, keys: Tensor, values: Tensor, layout: GroupLayout) -> Tensor:
    """Attend with one CUDA kernel for all groups.

    Args:
        queries: Rotated and scaled queries, (T, H, d), half precision.
        keys: Rotated keys, (T, H, d).
        values: Values, (T, H, d).
        layout: Layout of the batch.

    Returns:
        (T, H, d).
    """
    mixed = varlen_attn(
        queries,
        keys,
        values,
        layout.cu_seqlens,
        layout.cu_seqlens,
        layout.longest,
        layout.longest,
    )
    assert isinstance(mixed, Tensor)  # a tuple only where the log-sum-exp is asked for
    return mixed


def attend_sdpa(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: GroupLayout,
    *,
    dropout: float = 0.0,
) -> Tensor:
    """Attend with a fused kernel, one group after another; see `attend_varlen`.

    Args:
        queries: Rotated and scaled queries, (T, H, d).
        keys: Rotated keys, (T, H, d).
        values: Values, (T, H, d).
        layout: Layout of the batch.
        dropout: Share of the attention weights to drop.
    """
    if queries.device.type == "cpu" and not dropout:
        grouped: Tensor = GroupAttention.apply(queries, keys, values, layout.lengths)  # type: ignore[no-untyped-call]
        return grouped
    mixed = [
        functional.scaled_dot_product_attention(*group, dropout_p=dropout)
        .squeeze(0)
        .transpose(0, 1)
        for group in _groups(queries, keys, values, layout)
    ]
    return torch.cat(mixed)  # (T, H, d)


def attend_explicit(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: GroupLayout,
    *,
    dropout: float = 0.0,
) -> tuple[Tensor, Maps]:
    """Attend through the whole map of every group; see `attend_sdpa`.

    Returns:
        (T, H, d) and the maps, nothing of them dropped.
    """
    scale = queries.shape[-1] ** -0.5
    mixed, maps = [], []
    for query, key, value in _groups(queries, keys, values, layout):
        scores = (query.float() @ key.float().mT).squeeze(0) * scale  # (H, n, n)
        attention = scores.float().softmax(-1)  # under autocast the product is half precision
        maps.append(attention)
        if dropout:
            attention = functional.dropout(attention, dropout)
        mixed.append((attention.to(value.dtype) @ value.squeeze(0)).transpose(0, 1))
    return torch.cat(mixed), tuple(maps)


def _groups(
    queries: Tensor, keys: Tensor, values: Tensor, layout: GroupLayout
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values of every group, (1, H, n, d) each.

    Split, not sliced: the gradient of B slices is B tensors of all T tokens to be summed, that of
    a split one concatenation.
    """
    lengths = list(layout.lengths)
    parts = [
        [group.transpose(0, 1).unsqueeze(0) for group in torch.split(tensor, lengths)]
        for tensor in (queries, keys, values)
    ]
    return list(zip(*parts, strict=True))


# Loops over groups, which a compiler would unroll for every batch anew.
_SDPA: Callable[..., Tensor] = torch.compiler.disable(attend_sdpa)
_EXPLICIT: Callable[..., tuple[Tensor, Maps]] = torch.compiler.disable(attend_explicit)
