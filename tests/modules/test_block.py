from __future__ import annotations

from collections.abc import Callable

import torch

from biote.batch import PackedBatch
from biote.modules.attention import group_layout_of
from biote.modules.block import Block, SwiGLU
from biote.modules.config import EncoderConfig


def test_the_second_half_of_the_up_projection_is_the_gate() -> None:
    mlp, states = SwiGLU(8), torch.randn(5, 8)
    hidden = states @ mlp.up.weight[:16].T
    gate = states @ mlp.up.weight[16:].T
    expected = (hidden * gate / (1 + torch.exp(-gate))) @ mlp.down.weight.T
    torch.testing.assert_close(mlp(states), expected)


def test_both_layers_are_added_after_a_norm(
    tiny: EncoderConfig, make_batch: Callable[..., PackedBatch]
) -> None:
    block, batch = Block(tiny), make_batch([4, 6])
    layout, states = group_layout_of(batch, tiny), 3 * torch.randn(10, tiny.width)
    torch.nn.init.normal_(block.norm_attention.gamma)
    torch.nn.init.normal_(block.norm_mlp.gamma)
    attended = states + block.attention(block.norm_attention(states), layout)[0]
    expected = attended + block.mlp(block.norm_mlp(attended))
    torch.testing.assert_close(block(states, layout)[0], expected)
