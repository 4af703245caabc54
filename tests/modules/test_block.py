from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from biote.batch import PackedBatch
from biote.modules.attention import group_layout_of
from biote.modules.block import Block, SwiGLU
from biote.modules.config import Dropout, EncoderConfig
from biote.modules.initialisation import initialise

MakeBatch = Callable[..., PackedBatch]


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


def test_what_is_recomputed_gives_the_same_gradients(
    tiny: EncoderConfig, make_batch: MakeBatch
) -> None:
    batch = make_batch([4, 6])
    layout = group_layout_of(batch, tiny)
    states = torch.randn(10, tiny.width)
    found = []
    for recomputes in (False, True):
        block = Block(tiny, Dropout(residual=0.3))
        initialise(block, seed=1)
        block.configure(compiled=False, recomputes=recomputes)
        torch.manual_seed(3)
        update, _ = block(states, layout)
        found.append(
            [update, *torch.autograd.grad(update.square().sum(), list(block.parameters()))]
        )
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_updates_are_dropped_in_training_alone(tiny: EncoderConfig, make_batch: MakeBatch) -> None:
    batch = make_batch([4, 6])
    layout = group_layout_of(batch, tiny)
    states = torch.randn(10, tiny.width)
    block = Block(tiny, Dropout(residual=0.5))
    assert not torch.equal(block(states, layout)[0], block(states, layout)[0])
    block.eval()
    assert torch.equal(block(states, layout)[0], block(states, layout)[0])


@pytest.mark.full
def test_a_compiled_block_computes_the_same(tiny: EncoderConfig, make_batch: MakeBatch) -> None:
    block = Block(tiny)
    initialise(block, seed=1)
    for lengths in ([4, 6], [9, 1, 20], [64]):
        layout = group_layout_of(make_batch(lengths), tiny)
        states = torch.randn(sum(lengths), tiny.width)
        block.configure(compiled=False, recomputes=False)
        expected = block(states, layout)[0]
        block.configure(compiled=True, recomputes=False)
        torch.testing.assert_close(block(states, layout)[0], expected, rtol=1e-5, atol=1e-5)
