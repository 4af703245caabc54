from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.rotary import _rotate_real, rotary_table, rotate_projection

HEADS, HEAD_WIDTH = 2, 8
WIDTH = HEADS * HEAD_WIDTH


def products(state: Tensor, positions: Tensor, table: Tensor) -> Tensor:
    """Query at each position times key at each position, same states everywhere, (T, T)."""
    projection = state.expand(len(positions), -1)
    queries, keys, _ = rotate_projection(projection, table, HEADS)
    return torch.einsum("qhd,khd->qk", queries.double(), keys.double())


def spread_of_diagonals(scores: Tensor) -> float:
    """How much products differ that have the same relative position, relative to their size."""
    size = len(scores)
    spreads = [scores.diagonal(i) for i in range(1 - size, size)]
    return max(float(d.max() - d.min()) for d in spreads) / float(scores.abs().max())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 3e-3), (torch.bfloat16, 3e-2)]
)
def test_products_depend_on_relative_position_only(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    state = torch.randn(1, 3 * WIDTH).to(dtype)
    positions = torch.arange(0, 200, 7)
    table = rotary_table(positions, HEAD_WIDTH, theta=1e4)
    assert table.dtype == torch.float32
    assert spread_of_diagonals(products(state, positions, table)) < tolerance
    # A table that lost its sines scales instead of rotating: this measure sees it.
    cosines = torch.stack([table[..., 0], torch.zeros_like(table[..., 1])], -1)
    assert spread_of_diagonals(products(state, positions, cosines)) > 0.3


@pytest.mark.parametrize("cast", ["bfloat16", "half"])
def test_casting_the_encoder_leaves_no_table_to_damage(cast: str) -> None:
    encoder = Encoder(EncoderConfig(width=WIDTH, layers=1, heads=HEADS, context=8), 4)
    getattr(encoder, cast)()
    assert not list(encoder.buffers())
    positions = torch.arange(8)
    expected = rotary_table(positions, HEAD_WIDTH, theta=1e4)
    torch.set_default_dtype(torch.bfloat16)
    try:
        table = rotary_table(positions, HEAD_WIDTH, theta=1e4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(table, expected)


def test_adjacent_pairs_turn_by_position_times_frequency() -> None:
    projection = torch.zeros(1, 3 * WIDTH)
    projection[0, 2] = 1.0  # even feature of the second pair of the first query head
    projection[0, WIDTH + HEAD_WIDTH + 5] = 1.0  # odd feature of the third pair, second key head
    table = rotary_table(torch.tensor([3]), HEAD_WIDTH, theta=1e4, query_scale=0.5)
    queries, keys, values = rotate_projection(projection, table, HEADS)
    turn = 3 * 1e4 ** (-2 / HEAD_WIDTH)
    assert queries[0, 0, 2:4].tolist() == pytest.approx(
        [0.5 * math.cos(turn), 0.5 * math.sin(turn)]
    )
    turn = 3 * 1e4 ** (-4 / HEAD_WIDTH)
    assert keys[0, 1, 4:6].tolist() == pytest.approx([-math.sin(turn), math.cos(turn)])
    assert queries.count_nonzero() == 2
    assert keys.count_nonzero() == 2
    assert values.count_nonzero() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_of_computing_agree_with_gradients(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    table = rotary_table(torch.arange(9), HEAD_WIDTH, theta=1e4, query_scale=0.7)
    projection = torch.randn(9, 3 * WIDTH, dtype=dtype, requires_grad=True)
    outputs = torch.stack(rotate_projection(projection, table, HEADS), 1)
    parts = projection.reshape(9, 3, HEADS, HEAD_WIDTH)
    expected = torch.cat([_rotate_real(parts[:, :2], table), parts[:, 2:]], 1)
    weights = torch.randn_like(outputs)
    (gradient,) = torch.autograd.grad((outputs * weights).sum(), projection)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), projection)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(gradient, expected_gradient)
