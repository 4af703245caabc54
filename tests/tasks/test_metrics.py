from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biote.tasks.metrics import MaskedTokenMetric, MaskedTokenSummary, summarise

token = st.tuples(st.floats(0, 10), st.booleans(), st.integers(0, 5))


def summary(*updates: list[tuple[float, bool, int]]) -> MaskedTokenSummary | None:
    metric = MaskedTokenMetric()
    for tokens in updates:
        metric.update(
            torch.tensor([loss for loss, _, _ in tokens], dtype=torch.float32),
            torch.tensor([hit for _, hit, _ in tokens], dtype=torch.bool),
            torch.tensor([window for _, _, window in tokens], dtype=torch.int64),
        )
    return summarise(metric.compute())


def ratio_error(totals: list[float], sizes: list[int]) -> float:
    """Standard error of a ratio of sums over windows, from its definition."""
    ratio = sum(totals) / sum(sizes)
    residuals = [total - ratio * size for total, size in zip(totals, sizes, strict=True)]
    count = len(totals)
    if count == 1:
        return math.sqrt(residuals[0] ** 2) / sizes[0]
    variance = sum(residual**2 for residual in residuals) / (count - 1)
    return math.sqrt(variance / count) / (sum(sizes) / count)


@given(tokens=st.lists(token, min_size=1, max_size=40))
def test_means_and_errors_are_those_of_a_ratio_over_windows(
    tokens: list[tuple[float, bool, int]],
) -> None:
    found = summary(tokens)
    assert found is not None
    windows = sorted({window for _, _, window in tokens})
    of_window = [[t for t in tokens if t[2] == window] for window in windows]
    sizes = [len(inside) for inside in of_window]
    losses = [sum(float(np.float32(t[0])) for t in inside) for inside in of_window]
    hits = [float(sum(t[1] for t in inside)) for inside in of_window]
    assert (found.tokens, found.windows) == (len(tokens), len(windows))
    assert found.cross_entropy == pytest.approx(sum(losses) / len(tokens), abs=1e-9)
    assert found.accuracy == pytest.approx(sum(hits) / len(tokens), abs=1e-9)
    # Residuals that cancel leave the root of a rounding error.
    assert found.cross_entropy_error == pytest.approx(ratio_error(losses, sizes), abs=1e-5)
    assert found.accuracy_error == pytest.approx(ratio_error(hits, sizes), abs=1e-5)


def test_the_error_is_what_other_samples_of_windows_would_show() -> None:
    rng = np.random.default_rng(0)
    tokens: list[tuple[float, bool, int]] = []
    sums = []
    for window in range(400):
        level = rng.normal(2.0, 0.5)  # tokens of a window are alike
        losses = np.abs(level + rng.normal(0, 0.3, rng.integers(1, 30)))
        tokens += [(float(loss), bool(loss < 2), window) for loss in losses]
        sums.append((losses.sum(), (losses < 2).sum(), len(losses)))
    found = summary(tokens)
    assert found is not None
    drawn = np.array(sums)[rng.integers(0, 400, (2_000, 400))].sum(axis=1)  # (2000, 3)
    loss_spread, hit_spread = (drawn[:, :2] / drawn[:, 2:]).std(axis=0)
    assert found.cross_entropy_error == pytest.approx(loss_spread, rel=0.1)
    assert found.accuracy_error == pytest.approx(hit_spread, rel=0.1)
    # As if tokens were independent, the error would come out far too small.
    alone = np.std([loss for loss, _, _ in tokens]) / math.sqrt(len(tokens))
    assert found.cross_entropy_error > 2 * alone


@given(tokens=st.lists(token, min_size=2, max_size=40), parts=st.integers(1, 4))
def test_updates_add_up(tokens: list[tuple[float, bool, int]], parts: int) -> None:
    # Windows are whole in an update, and their numbers begin anew in each.
    updates = [[t for t in tokens if t[2] % parts == part] for part in range(parts)]
    together, apart = summary(tokens), summary(*updates)
    assert together is not None
    assert apart is not None
    assert vars(apart) == pytest.approx(vars(together), abs=1e-5)
    same_numbers = [(loss, hit, 0) for loss, hit, _ in tokens]
    twice = summary(same_numbers, same_numbers)
    assert twice is not None
    assert twice.windows == 2


def test_nothing_masked_is_no_summary() -> None:
    assert summary() is None
    assert summary([]) is None


def test_perplexity_is_the_exponential_of_the_cross_entropy() -> None:
    found = summary([(math.log(3.0), True, 0), (math.log(12.0), False, 1)])
    assert found is not None
    assert found.perplexity == pytest.approx(6.0)


def test_sums_are_kept_in_double_precision() -> None:
    metric = MaskedTokenMetric()
    large = torch.full((4,), 1e4)
    for _ in range(300):
        metric.update(large + 0.125, torch.ones(4, dtype=torch.bool), torch.arange(4))
    found = summarise(metric.compute())
    assert found is not None
    assert found.cross_entropy == pytest.approx(1e4 + 0.125, rel=1e-12)
