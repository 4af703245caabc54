"""One layer of the encoder.

Legend: T packed tokens, D width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from biote.modules.attention import Attention, GroupLayout, Maps
from biote.modules.config import EncoderConfig
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
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm_attention = Norm(config.width)
        self.attention = Attention(config)
        self.norm_mlp = Norm(config.width)
        self.mlp = SwiGLU(config.width)

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
        update, maps = self.attention(self.norm_attention(states), layout, with_maps=with_maps)
        states = states + update
        return states + self.mlp(self.norm_mlp(states)), maps
