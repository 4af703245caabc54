from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from biote.baselines.blocks import dense_block
from biote.baselines.logistic import logistic_block_predictions
from biote.errors import DataError


def test_it_is_scikit_learns_with_the_same_penalty() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(240, 6)).astype(np.float32)
    classes = (features @ rng.normal(size=(6, 3)) + rng.gumbel(size=(240, 3))).argmax(axis=1)
    train, penalty = 200, 1e-2
    found = logistic_block_predictions(
        [dense_block(features)],
        classes[:train],
        n_classes=3,
        train_groups=[str(i) for i in range(train)],
        penalties=[penalty],
    )
    # Features as the baseline has them: centred, over the root of their deviation, variance 1.
    scaled = (features - features[:train].mean(0)) / np.sqrt(features[:train].std(0))
    scaled /= np.sqrt(scaled[:train].var(axis=0).mean())
    model = LogisticRegression(C=1 / (penalty * train), tol=1e-8, max_iter=1000)
    expected = model.fit(scaled[:train], classes[:train]).predict_proba(scaled[train:])
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_penalty_is_chosen_on_groups_that_are_held_out() -> None:
    # Noise alone: the strongest penalty is best, and predicts the shares of the classes.
    rng = np.random.default_rng(1)
    features = rng.normal(size=(130, 40)).astype(np.float32)
    classes = rng.integers(0, 2, 100)
    found = logistic_block_predictions(
        [dense_block(features)],
        classes,
        n_classes=2,
        train_groups=[str(i) for i in range(100)],
        penalties=[100.0, 1e-4],
    )
    np.testing.assert_allclose(found[:, 1], classes.mean(), atol=0.05)


def test_one_group_is_refused() -> None:
    with pytest.raises(DataError, match="all of one group"):
        logistic_block_predictions(
            [dense_block(np.eye(3, dtype=np.float32))],
            np.array([0, 1]),
            n_classes=2,
            train_groups=["a", "a"],
        )
