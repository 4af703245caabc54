from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biote.batch import PackedBatch
from biote.modules.unpack import mean_of_groups, pack, unpack

MakeBatch = Callable[..., PackedBatch]
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(lengths=LENGTHS)
def test_rows_hold_the_groups_and_zeros(lengths: list[int], make_batch: MakeBatch) -> None:
    batch = make_batch(lengths)
    states = torch.randn(batch.n_tokens, 3)
    padded, mask = unpack(states, batch)
    assert padded.shape == (len(lengths), max(lengths), 3)
    for row, row_mask, group in zip(padded, mask, states.split(lengths), strict=True):
        assert row_mask.tolist() == [i < len(group) for i in range(max(lengths))]
        assert torch.equal(row[: len(group)], group)
        assert not row[len(group) :].any()
    assert torch.equal(pack(padded, batch), states)


@given(lengths=LENGTHS)
def test_padding_never_leaks_into_the_mean(lengths: list[int], make_batch: MakeBatch) -> None:
    batch = make_batch(lengths)
    states = torch.randn(batch.n_tokens, 3, requires_grad=True)
    means = mean_of_groups(states, batch)
    expected = torch.stack([group.mean(0) for group in states.split(lengths)])
    torch.testing.assert_close(means, expected)
    (gradient,) = torch.autograd.grad(means.sum(), states)
    sizes = torch.tensor(lengths, dtype=torch.float32)
    shares = torch.repeat_interleave(1 / sizes, torch.tensor(lengths))
    torch.testing.assert_close(gradient, shares[:, None].expand(-1, 3))


def test_gradients_pass_through_both_ways(make_batch: MakeBatch) -> None:
    batch = make_batch([2, 5, 1])
    states = torch.randn(8, 3, requires_grad=True)
    weights = torch.randn(8, 3)
    there_and_back = pack(unpack(states, batch)[0], batch)
    (gradient,) = torch.autograd.grad((there_and_back * weights).sum(), states)
    assert torch.equal(gradient, weights)


def test_states_of_another_batch_are_refused(make_batch: MakeBatch) -> None:
    batch = make_batch([2, 3])
    with pytest.raises(ValueError, match="4 states for a batch of 5"):
        unpack(torch.zeros(4, 2), batch)
    with pytest.raises(ValueError, match="for 2 groups of up to 3"):
        pack(torch.zeros(2, 4, 2), batch)
