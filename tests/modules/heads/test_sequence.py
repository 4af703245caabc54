from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.heads.base import Head, Level, heads_for
from biote.modules.heads.sequence import MLPHead, SequenceHead
from biote.modules.pooling import Pooling

MakeBatch = Callable[..., PackedBatch]


def trained(head: Head) -> Head:
    """The head with weights that are not zero."""
    torch.manual_seed(0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


@pytest.mark.parametrize("kind", [SequenceHead, MLPHead])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_a_row_does_not_depend_on_its_neighbours(
    kind: Callable[..., Head], pooling: Pooling, make_batch: MakeBatch
) -> None:
    head = trained(kind(16, 3, pooling=pooling))
    lengths = [2, 9, 1]
    states = torch.randn(12, 16)
    together = head(states, make_batch(lengths))
    single = torch.cat([head(s, make_batch([len(s)])) for s in states.split(lengths)])
    torch.testing.assert_close(together, single)


@pytest.mark.parametrize("kind", [SequenceHead, MLPHead])
def test_pooling_chooses_the_tokens(kind: Callable[..., Head], make_batch: MakeBatch) -> None:
    batch, states = make_batch([3, 5]), torch.randn(8, 16)
    later = states.clone()
    later[1] += 1.0
    for pooling, seen in (("first", False), ("mean", True)):
        head = trained(kind(16, 2, pooling=pooling))
        before, after = head(states, batch), head(later, batch)
        assert torch.equal(before[0], after[0]) != seen
        torch.testing.assert_close(before[1], after[1])


def test_sequence_head_is_linear_with_the_factor(make_batch: MakeBatch) -> None:
    head, states = trained(SequenceHead(16, 3)), torch.randn(8, 16)
    weight, bias = head.get_parameter("readout.weight"), head.get_parameter("readout.bias")
    expected = (states[[0, 3]] @ weight.T + bias) * 1024 / 16
    torch.testing.assert_close(head(states, make_batch([3, 5])), expected)


@pytest.mark.parametrize("width", [32, 512])
def test_hidden_layer_starts_at_the_same_size_at_any_width(width: int) -> None:
    torch.manual_seed(0)
    hidden = MLPHead(width, 1, hidden_width=256).hidden(torch.randn(64, width))
    assert hidden.shape == (64, 256)
    assert float(hidden.detach().std()) == pytest.approx(1.0, rel=0.1)


def test_mlp_head_starts_at_zero_and_learns_through_both_layers(make_batch: MakeBatch) -> None:
    head, batch, states = MLPHead(16, 1), make_batch([3, 5]), torch.randn(8, 16)
    assert torch.equal(head(states, batch), torch.zeros(2, 1))
    assert head.hidden.weight.shape == (16, 16)
    trained(head)(states, batch).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in head.parameters())


def test_weights_depend_on_the_seed_alone() -> None:
    one, other = MLPHead(16, 1), MLPHead(16, 1)
    one.reset_parameters(seed=3)
    other.reset_parameters(seed=3)
    assert torch.equal(one.hidden.weight, other.hidden.weight)
    other.reset_parameters(seed=4)
    assert not torch.equal(one.hidden.weight, other.hidden.weight)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="accepted: first, mean"):
        SequenceHead(16, 1, pooling="max")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="hidden_width"):
        MLPHead(16, 1, hidden_width=0)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("group", {"DeltaGHead", "MLPHead", "SequenceHead"}), ("token", {"ResidueHead"})],
)
def test_heads_for_a_level(level: Level, expected: set[str]) -> None:
    names = [kind.__name__ for kind in heads_for(level)]
    assert expected <= set(names)
    assert names == sorted(names)
    assert all(kind.level == level for kind in heads_for(level))
