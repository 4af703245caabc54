from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.attention import (
    Attention,
    GroupLayout,
    attend_explicit,
    attend_varlen,
    group_layout_of,
    select_backend,
)
from biote.modules.config import AttentionBackend, EncoderConfig
from biote.modules.rotary import rotate_projection

MakeBatch = Callable[..., PackedBatch]
RAGGED = [1, 7, 1, 64, 30, 1]  # groups of one token and of the full context


def layer(config: EncoderConfig, backend: AttentionBackend) -> Attention:
    """A layer with large projections, so that attention is far from uniform."""
    torch.manual_seed(0)
    attention = Attention(dataclasses.replace(config, attention=backend))
    with torch.no_grad():
        attention.qkv.weight *= 5
    return attention


def outcome(
    attention: Attention, states: Tensor, batch: PackedBatch, config: EncoderConfig
) -> list[Tensor]:
    """Update, gradient of the states and gradients of the weights."""
    states = states.clone().requires_grad_()
    update, _ = attention(states, group_layout_of(batch, config))
    weights = torch.linspace(-1, 1, update.numel()).reshape(update.shape).to(update)
    inputs = (states, *attention.parameters())
    return [update.detach(), *torch.autograd.grad((update * weights).sum(), inputs)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_backends_agree_with_gradients(
    tiny: EncoderConfig, make_batch: MakeBatch, dtype: torch.dtype, tolerance: float
) -> None:
    batch = make_batch(RAGGED)
    states = torch.randn(batch.n_tokens, tiny.width).to(dtype)
    fused = outcome(layer(tiny, "sdpa").to(dtype), states, batch, tiny)
    explicit = outcome(layer(tiny, "explicit").to(dtype), states, batch, tiny)
    for one, other in zip(fused, explicit, strict=True):
        assert (one - other).norm() / other.norm() < tolerance


def test_equals_the_formula(tiny: EncoderConfig, make_batch: MakeBatch) -> None:
    batch = make_batch([5, 1, 9])
    states = torch.randn(batch.n_tokens, tiny.width)
    attention = layer(tiny, "sdpa")
    update, _ = attention(states, group_layout_of(batch, tiny))

    queries, keys, values = attention.qkv(states).chunk(3, -1)  # (T, D) each
    pairs = torch.arange(0, tiny.head_width, 2)
    angles = batch.positions[:, None] / tiny.rope_theta ** (pairs / tiny.head_width)
    turn = torch.polar(torch.ones_like(angles), angles)
    group = torch.repeat_interleave(torch.arange(3), torch.tensor(batch.lengths))
    heads = []
    for h in range(tiny.heads):
        own = slice(h * tiny.head_width, (h + 1) * tiny.head_width)
        query, key = (
            torch.view_as_complex(x[:, own].reshape(len(states), -1, 2).contiguous()) * turn
            for x in (queries, keys)
        )
        scores = 8 / tiny.width * (query @ key.conj().T).real
        scores = scores.masked_fill(group[:, None] != group[None, :], -torch.inf)
        heads.append(scores.softmax(-1) @ values[:, own])
    torch.testing.assert_close(update, attention.out(torch.cat(heads, -1)), rtol=1e-5, atol=1e-5)


def test_maps_are_what_tokens_attend_to(tiny: EncoderConfig, make_batch: MakeBatch) -> None:
    batch = make_batch(RAGGED)
    states = torch.randn(batch.n_tokens, tiny.width)
    attention, layout = layer(tiny, "sdpa"), group_layout_of(batch, tiny)
    update, maps = attention(states, layout, with_maps=True)
    assert [tuple(m.shape) for m in maps] == [(tiny.heads, n, n) for n in RAGGED]
    for attended in maps:
        torch.testing.assert_close(attended.sum(-1), torch.ones(attended.shape[:2]))
    _, _, values = rotate_projection(attention.qkv(states), layout.table, tiny.heads)
    mixed = [
        torch.einsum("hqk,khd->qhd", attended, value)
        for attended, value in zip(maps, values.split(RAGGED), strict=True)
    ]
    expected = attention.out(torch.cat(mixed).flatten(-2))
    torch.testing.assert_close(update, expected, rtol=1e-5, atol=1e-5)
    assert attention(states, layout)[1] is None


def test_auto_follows_the_device() -> None:
    assert select_backend("auto", torch.zeros(1, 2, 8, dtype=torch.bfloat16)) == "sdpa"
    assert select_backend("explicit", torch.zeros(1, 2, 8)) == "explicit"
    with pytest.raises(ConfigError, match=r"varlen cannot run on cpu .* use auto"):
        select_backend("varlen", torch.zeros(1, 2, 8))


@pytest.mark.gpu
def test_varlen_agrees_with_gradients(make_batch: MakeBatch) -> None:
    config = EncoderConfig(width=128, layers=1, heads=2, context=64)
    batch = make_batch(RAGGED).to("cuda")
    layout = group_layout_of(batch, config)
    projection = torch.randn(batch.n_tokens, 3 * 128, device="cuda", dtype=torch.bfloat16) * 3
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        leaf = projection.to(dtype).requires_grad_()
        parts = rotate_projection(leaf, layout.table, config.heads)
        if dtype == torch.bfloat16:
            assert select_backend("auto", parts[0]) == "varlen"
            mixed = attend_varlen(*parts, layout)
        else:
            assert select_backend("auto", parts[0]) == "sdpa"
            mixed, _ = attend_explicit(*parts, layout)
        weights = torch.linspace(-1, 1, mixed.numel(), device="cuda").reshape(mixed.shape)
        (gradient,) = torch.autograd.grad((mixed.float() * weights).sum(), leaf)
        results.append((mixed.float(), gradient.float()))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() / other.norm() < 2e-2


def test_varlen_drops_no_attention_weights() -> None:
    with pytest.raises(ConfigError, match="the varlen kernel drops no attention weights"):
        select_backend("varlen", torch.zeros(3, 2, 8), dropout=0.1)


@pytest.mark.parametrize("backend", ["sdpa", "explicit"])
def test_attention_weights_are_dropped_in_training_alone(
    tiny: EncoderConfig, make_batch: MakeBatch, backend: AttentionBackend
) -> None:
    torch.manual_seed(0)
    batch = make_batch([40])
    config = dataclasses.replace(tiny, attention=backend)
    states = torch.randn(40, tiny.width)
    layout = group_layout_of(batch, config)
    whole, dropping = Attention(config), Attention(config, 0.5)
    dropping.load_state_dict(whole.state_dict())
    expected = whole(states, layout)[0]
    assert torch.equal(dropping.eval()(states, layout)[0], expected)
    dropped = torch.stack([dropping.train()(states, layout)[0] for _ in range(300)])
    assert not torch.allclose(dropped[0], expected)
    # What is left is scaled up, so that the mean stays.
    torch.testing.assert_close(dropped.mean(0), expected, rtol=0, atol=0.6 * expected.std().item())


@pytest.mark.parametrize("lengths", [(3, 0, 2), (3, 1), (3, 3)])
def test_groups_that_are_not_the_batch_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="in a batch of 5"):
        GroupLayout(torch.zeros(5, 2, 1, 4, 2), torch.tensor([0]), lengths)
