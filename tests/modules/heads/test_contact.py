from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from biote.batch import PackedBatch, group_layout
from biote.errors import ConfigError
from biote.modules.heads import ResNetContactHead, heads_for
from biote.modules.heads.contact import MapNorm, OuterConvolution
from biote.modules.mup import FineTuningOptimizer

WIDTH = 6


def batch_of(lengths: list[int]) -> PackedBatch:
    cu_seqlens, positions = group_layout(lengths)
    tokens = sum(lengths)
    return PackedBatch(
        ids=torch.zeros(tokens, dtype=torch.int64),
        cu_seqlens=cu_seqlens,
        positions=positions,
        molecules=torch.zeros(tokens, dtype=torch.uint8),
        lengths=tuple(lengths),
    )


def make_head(*, checkpoint_above: int = 256, seed: int = 0) -> ResNetContactHead:
    head = ResNetContactHead(
        WIDTH, 1, features=4, map_width=5, blocks=2, checkpoint_above=checkpoint_above
    )
    head.reset_parameters(seed=seed)
    return head


def statistics(head: ResNetContactHead) -> list[Tensor]:
    return [
        buffer.clone()
        for module in head.modules()
        if isinstance(module, MapNorm)
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 9), features=st.integers(1, 5), width=st.integers(1, 4))
def test_the_first_convolution_is_that_of_the_outer_concatenation(
    n: int, features: int, width: int
) -> None:
    torch.manual_seed(0)
    layer = OuterConvolution(features, width).double()
    tokens = torch.randn(n, features, dtype=torch.float64)
    rows = tokens.t()[:, :, None].expand(-1, n, n)
    columns = tokens.t()[:, None, :].expand(-1, n, n)
    pairs = torch.cat([rows, columns])[None]  # (1, 2 F, n, n)
    expected = functional.conv2d(pairs, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(tokens), expected)


def test_the_sizes_are_those_of_the_paper() -> None:
    head = ResNetContactHead(32, 1)
    shapes = [tuple(p.shape) for p in head.parameters() if p.ndim == 4]
    assert shapes == [(64, 256, 3, 3), *[(64, 64, 3, 3)] * 16, (1, 64, 3, 3)]
    assert tuple(head.project.weight.shape) == (128, 32)


def test_maps_are_symmetric_and_those_of_each_protein_alone() -> None:
    head = make_head().eval()
    lengths = [7, 4, 12]
    states = torch.randn(sum(lengths), WIDTH)
    maps = head(states, batch_of(lengths)).split([(n - 2) ** 2 for n in lengths])
    for n, of, found in zip(lengths, states.split(lengths), maps, strict=True):
        pairs = found.view(n - 2, n - 2)
        torch.testing.assert_close(pairs, pairs.t())
        torch.testing.assert_close(found, head(of, batch_of([n])))


def test_tag_and_end_token_take_part_in_no_pair() -> None:
    head = make_head().eval()
    states = torch.randn(8, WIDTH)
    changed = states.clone()
    changed[[0, -1]] += 5.0
    batch = batch_of([8])
    torch.testing.assert_close(head(states, batch), head(changed, batch))


@pytest.mark.parametrize("lengths", [[14], [14, 9, 12]])
def test_checkpoints_change_neither_gradients_nor_running_statistics(lengths: list[int]) -> None:
    plain, saving = make_head(checkpoint_above=10_000), make_head(checkpoint_above=8)
    torch.manual_seed(1)
    states = torch.randn(sum(lengths), WIDTH)
    results = []
    for head, alone in ((plain, True), (saving, False)):
        inputs = states.clone().requires_grad_()
        if alone:  # one protein at a time, nothing computed twice
            parts = inputs.split(lengths)
            logits = torch.cat(
                [head(of, batch_of([n])) for of, n in zip(parts, lengths, strict=True)]
            )
        else:
            logits = head(inputs, batch_of(lengths))
        logits.square().mean().backward()
        gradients = [p.grad for p in head.parameters()]
        assert all(gradient is not None for gradient in gradients)
        results.append([logits.detach(), inputs.grad, *gradients, *statistics(head)])
    torch.testing.assert_close(results[0], results[1])
    fresh = statistics(make_head())
    assert not torch.equal(fresh[0], statistics(saving)[0])


def test_statistics_of_training_are_used_at_test() -> None:
    head = make_head()
    states = torch.randn(12, WIDTH) * 3 + 1
    head(states, batch_of([12]))
    trained = copy.deepcopy(head).eval()
    before = trained(states, batch_of([12]))
    head.reset_parameters(seed=0)
    assert not torch.allclose(head.eval()(states, batch_of([12])), before)
    torch.testing.assert_close(statistics(head), statistics(make_head()))


def test_all_its_weights_learn_at_the_rate_of_heads() -> None:
    head = make_head()
    (group,) = FineTuningOptimizer(lr_head=1e-3).groups(head, WIDTH)
    assert (group["name"], group["lr"]) == ("head", 1e-3)
    assert len(group["params"]) == len(list(head.parameters()))


def test_it_predicts_for_pairs_and_one_output() -> None:
    assert heads_for("pair") == [ResNetContactHead]
    with pytest.raises(ConfigError, match=r"model\.head: ResNetContactHead predicts contacts"):
        ResNetContactHead(8, 3)
    with pytest.raises(ConfigError, match=r"init_args\.blocks: 0 cannot be used"):
        ResNetContactHead(8, 1, blocks=0)
