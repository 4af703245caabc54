from __future__ import annotations

import numpy as np
import pytest

from biote.baselines import blocks
from biote.baselines.blocks import FeatureBlock, scaled_coordinates


@pytest.mark.parametrize(("distinct", "features"), [(6, 40), (40, 6)])
def test_coordinates_keep_every_inner_product_with_a_training_row(
    distinct: int, features: int
) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((distinct, features), dtype=np.float32)
    values[:, 2] = 0.25  # constant: no coordinate
    index = rng.integers(distinct, size=100)
    train_rows = np.flatnonzero(index < distinct - 2)
    coordinates = scaled_coordinates(FeatureBlock(values, index), train_rows, seed=0)
    assert coordinates.shape[1] <= min(distinct - 2, features - 1)

    dense = values[index].astype(np.float64)
    centred = dense - dense[train_rows].mean(axis=0)
    sd = dense[train_rows].std(axis=0)
    scaled = np.delete(centred, 2, axis=1) / np.sqrt(np.delete(sd, 2))
    products = scaled @ scaled[train_rows].T
    np.testing.assert_allclose(coordinates @ coordinates[train_rows].T, products, atol=1e-4)


def test_a_large_block_is_held_to_the_largest_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LARGEST_BASIS", 10)
    rng = np.random.default_rng(0)
    block = FeatureBlock(rng.random((50, 30), dtype=np.float32), np.arange(50))
    first = scaled_coordinates(block, np.arange(40), seed=0)
    assert first.shape == (50, 10)
    np.testing.assert_array_equal(first, scaled_coordinates(block, np.arange(40), seed=0))
    assert not np.array_equal(first, scaled_coordinates(block, np.arange(40), seed=1))


def test_features_that_never_vary_leave_nothing() -> None:
    block = FeatureBlock(np.full((3, 5), 0.2, dtype=np.float32), np.array([0, 1, 2, 0]))
    assert scaled_coordinates(block, np.arange(4), seed=0).shape[1] == 0
