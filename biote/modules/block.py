"""One layer of the encoder.

Legend: T packed tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from biote.modules.attention import Attention, GroupLayout, Maps
from biote.modules.config import Dropout, EncoderConfig
from biote.modules.initialisation import HiddenLinear
from biote.modules.norm import Norm


class SwiGLU(nn.Module):
    """Gated feed-forward layer: first half of the up projection times SiLU of the second.

    Args:
        width: Width of the states, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        std = width**-0.5
        self.up = HiddenLinear(width, 4 * width, std=std)
        self.down = HiddenLinear(2 * width, width, std=std * 2**-0.5)

    def forward(self, states: Tensor) -> Tensor:
        """Transform every token by itself.

        Args:
            states: Normalised states, (T, D).

        Returns:
            Update of the states, (T, D).
        """
        hidden, gate = self.up(states).chunk(2, -1)  # (T, 2 D) each
        update: Tensor = self.down(hidden * functional.silu(gate))
        return update


class Block(nn.Module):
    """Attention and feed-forward layer, each after a norm and added to the states.

    Args:
        config: Sizes of the encoder.
        dropout: What is dropped in training.
    """

    def __init__(
        self,
        config: EncoderConfig,
        dropout: Dropout = Dropout(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.norm_attention = Norm(config.width)
        self.attention = Attention(config, dropout.attention)
        self.norm_mlp = Norm(config.width)
        self.mlp = SwiGLU(config.width)
        self._dropout = dropout.residual
        self._recomputes = False
        self._compute: Callable[..., tuple[Tensor, Maps | None]] = self._layer

    def configure(self, *, compiled: bool, recomputes: bool) -> None:
        """Choose how the layer is computed.

        Args:
            compiled: Whether it is compiled, which happens in the first pass.
            recomputes: Whether its inner states are computed again in the backward pass.
        """
        # Compiled inside, sharded and checkpointed outside: the names of weights stay the same.
        self._compute = torch.compile(self._layer, dynamic=True) if compiled else self._layer
        self._recomputes = recomputes

    def forward(
        self, states: Tensor, layout: GroupLayout, *, with_maps: bool = False
    ) -> tuple[Tensor, Maps | None]:
        """Apply the layer.

        Args:
            states: States of the layer below, (T, D).
            layout: Layout of the batch.
            with_maps: Whether to return the attention maps.

        Returns:
            States, (T, D), and the maps where they were asked for.
        """
        if self._recomputes and torch.is_grad_enabled() and not with_maps:
            recomputed: tuple[Tensor, Maps | None] = checkpoint(
                self._compute, states, layout, use_reentrant=False
            )
            return recomputed
        return self._compute(states, layout, with_maps=with_maps)

    def _layer(
        self, states: Tensor, layout: GroupLayout, *, with_maps: bool = False
    ) -> tuple[Tensor, Maps | None]:
        update, maps = self.attention(self.norm_attention(states), layout, with_maps=with_maps)
        states = states + self._drop(update)
        return states + self._drop(self.mlp(self.norm_mlp(states))), maps

    def _drop(self, update: Tensor) -> Tensor:
        if self.training and self._dropout:
            return functional.dropout(update, self._dropout)
        return update
