"""Rank correlation against scipy, and of what cannot be ranked."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from biote.tasks.correlation import RankCorrelation, rank_correlation


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_it_is_that_of_scipy(n_outputs: int) -> None:
    shape = (50,) if n_outputs == 1 else (50, n_outputs)
    predictions = torch.randint(0, 9, shape, generator=torch.Generator().manual_seed(0)).double()
    targets = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    metric = RankCorrelation(num_outputs=n_outputs)
    metric.set_dtype(torch.float64)
    metric.update(predictions[:20], targets[:20])
    metric.update(predictions[20:], targets[20:])
    columns = zip(predictions.reshape(50, -1).T, targets.reshape(50, -1).T, strict=True)
    expected = [stats.spearmanr(one, other).statistic for one, other in columns]
    assert metric.compute().reshape(-1).tolist() == pytest.approx(expected)


def test_constant_values_have_none() -> None:
    varied = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    half = torch.stack([torch.ones(3, dtype=torch.float64), varied[:, 1]], 1)
    for predictions, targets in ((half, varied), (varied, half)):
        metric = RankCorrelation(num_outputs=2)
        metric.update(predictions, targets)
        first, second = metric.compute().tolist()
        assert first != first
        assert second == pytest.approx(1, abs=1e-5)
    single = RankCorrelation()
    single.update(torch.ones(4), torch.arange(4.0))
    assert single.compute().isnan()


@pytest.mark.parametrize("levels", [3, 117])
def test_many_ties_do_not_overflow(levels: int) -> None:
    # Ranks of 150,000 rows on few levels add up to more than 32 bits hold.
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, levels, (150_000,), generator=generator).float()
    predictions = targets + levels * torch.randn(150_000, generator=generator)
    expected = stats.spearmanr(predictions, targets).statistic
    assert rank_correlation(predictions, targets) == pytest.approx(expected, abs=1e-9)


def test_what_differs_by_rounding_is_constant() -> None:
    rounded = torch.full((6,), -9.3) + torch.tensor([0.0, 1, -1, 0, 1, 2]) * 9.5e-7
    assert len(rounded.unique()) > 2
    assert math.isnan(rank_correlation(rounded, torch.arange(6.0)))
    assert math.isnan(rank_correlation(torch.tensor([1.0, math.nan, 2.0]), torch.arange(3.0)))
