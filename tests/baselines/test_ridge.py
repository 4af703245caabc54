from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biote.baselines import ridge
from biote.baselines.blocks import FeatureBlock
from biote.baselines.ridge import ridge_block_predictions, ridge_predictions
from biote.errors import DataError
from biote.splits import assign_folds

_Floats = npt.NDArray[np.float64]


def _normal_equations(x: _Floats, y: _Floats, test: _Floats, *, penalty: float) -> _Floats:
    """Ridge regression with an unpenalised intercept, solved with a column of ones."""
    mean, scale = x.mean(axis=0), np.sqrt(x.std(axis=0))
    left = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    right = np.column_stack([(test - mean) / scale, np.ones(len(test))])
    diagonal = np.full(left.shape[1], penalty * len(x))
    diagonal[-1] = 0.0
    predictions: _Floats = right @ np.linalg.solve(left.T @ left + np.diag(diagonal), left.T @ y)
    return predictions


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(30, 5), (12, 40)]),
    st.sampled_from([0.01, 1.0]),
    st.booleans(),
)
def test_predictions_solve_the_normal_equations(
    seed: int, shape: tuple[int, int], penalty: float, one_target: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, test = rng.normal(size=shape), rng.normal(size=(7, shape[1]))
    y = rng.normal(3, 2, size=(shape[0], 2))
    if one_target:
        y = y[:, 0]
    predicted = ridge_predictions(
        x.astype(np.float32),
        y,
        test.astype(np.float32),
        train_groups=[str(i // 2) for i in range(len(x))],
        penalties=[penalty],
    )
    np.testing.assert_allclose(
        predicted, _normal_equations(x, y, test, penalty=penalty), rtol=1e-3, atol=1e-3
    )


def test_the_penalty_is_the_one_that_held_out_groups_like_best() -> None:
    rng = np.random.default_rng(1)
    groups = [str(i // 5) for i in range(100)]
    x = rng.normal(size=(100, 30))
    y = x[:, 0] + rng.normal(0, 2, 100)
    penalties = (0.001, 0.1, 1.0, 100.0)
    folds = np.array(assign_folds(groups, ridge.INNER_FOLDS, seed=4))
    mean, scale = x.mean(axis=0), np.sqrt(x.std(axis=0))
    errors = []
    for penalty in penalties:
        error = 0.0
        for fold in range(ridge.INNER_FOLDS):
            inside, outside = (x[folds != fold] - mean) / scale, (x[folds == fold] - mean) / scale
            weights = np.linalg.solve(
                (inside - inside.mean(axis=0)).T @ (inside - inside.mean(axis=0))
                + penalty * len(inside) * np.eye(30),
                (inside - inside.mean(axis=0)).T @ y[folds != fold],
            )
            fitted = (outside - inside.mean(axis=0)) @ weights + y[folds != fold].mean()
            error += float(np.square(fitted - y[folds == fold]).sum())
        errors.append(error)
    best = penalties[int(np.argmin(errors))]
    assert best not in (penalties[0], penalties[-1]), "the case must be able to tell"
    test = rng.normal(size=(9, 30))
    predicted = ridge_predictions(
        x.astype(np.float32),
        y,
        test.astype(np.float32),
        train_groups=groups,
        penalties=penalties,
        seed=4,
    )
    np.testing.assert_allclose(
        predicted, _normal_equations(x, y, test, penalty=best), rtol=1e-3, atol=1e-3
    )


def test_no_group_is_on_both_sides_of_an_inner_split() -> None:
    # Features name the group and targets are a property of it: split by rows, the smallest
    # penalty looks perfect; split by groups, nothing can be learnt and the largest wins.
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(20), 10)
    features = np.eye(20, dtype=np.float32)[names]
    targets = rng.normal(size=20)[names]
    test = np.eye(20, dtype=np.float32)

    def spread(groups: list[str]) -> float:
        return float(
            np.std(
                ridge_predictions(
                    features, targets, test, train_groups=groups, penalties=(1e-4, 1e4)
                )
            )
        )

    assert spread([str(name) for name in names]) < 0.01
    assert spread([str(row) for row in range(len(names))]) > 0.5


def test_test_rows_have_no_influence_on_each_other() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 60), dtype=np.float32), rng.normal(size=40)
    groups = [str(i) for i in range(40)]
    test = rng.random((6, 60), dtype=np.float32)
    together = ridge_predictions(x, y, test, train_groups=groups)
    disturbed = test.copy()
    disturbed[1:] *= 1e3
    alone = ridge_predictions(x, y, disturbed, train_groups=groups)
    assert together[0] == pytest.approx(alone[0], rel=1e-5)


def test_blocks_of_repeated_rows_equal_the_rows_written_out() -> None:
    rng = np.random.default_rng(0)
    first = FeatureBlock(rng.random((9, 50), dtype=np.float32), rng.integers(9, size=60))
    second = FeatureBlock(rng.random((30, 4), dtype=np.float32), rng.integers(30, size=60))
    dense = np.concatenate([b.distinct[b.index] for b in (first, second)], axis=1)
    y = rng.normal(size=(50, 1))
    groups = [str(i) for i in first.index[:50]]
    np.testing.assert_allclose(
        ridge_block_predictions([first, second], y, train_groups=groups),
        ridge_predictions(dense[:50], y, dense[50:], train_groups=groups),
        rtol=1e-3,
        atol=1e-4,
    )


def test_without_a_feature_the_mean_is_left() -> None:
    x, y = np.zeros((10, 3), np.float32), np.arange(10.0)
    groups = [str(i) for i in range(10)]
    assert ridge_predictions(x, y, x[:2], train_groups=groups).tolist() == [4.5, 4.5]


def test_one_group_is_refused() -> None:
    x, y = np.zeros((10, 3), np.float32), np.arange(10.0)
    with pytest.raises(DataError, match="one group"):
        ridge_predictions(x, y, x, train_groups=["a"] * 10)


@pytest.mark.full
def test_many_rows_of_few_proteins_take_seconds() -> None:
    rng = np.random.default_rng(0)
    proteins = FeatureBlock(
        rng.random((740, 8_420), dtype=np.float32), rng.integers(740, size=13_500)
    )
    strands = FeatureBlock(
        rng.random((3_500, 84), dtype=np.float32), rng.integers(3_500, size=13_500)
    )
    groups = [str(i) for i in proteins.index[:12_000]]
    start = time.perf_counter()
    ridge_block_predictions([proteins, strands], rng.normal(size=(12_000, 1)), train_groups=groups)
    assert time.perf_counter() - start < 20
