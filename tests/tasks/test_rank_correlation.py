"""Rank correlation against scipy, and of what cannot be ranked."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from biote.tasks.rank_correlation import RankCorrelation


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
