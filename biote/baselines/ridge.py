"""Ridge regression in closed form, its penalty chosen inside the training part.

Legend: N training rows, M test rows, R feature coordinates, C targets, P penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.baselines.blocks import FeatureBlock, dense_block, scaled_coordinates
from biote.errors import DataError
from biote.splits import assign_folds

PENALTIES: Final = tuple(10.0 ** (power / 2) for power in range(-8, 5))
"""Penalties tried, as multiples of the number of training rows: one equal to the variance of the
features along a direction halves the weight of that direction."""

INNER_FOLDS: Final = 5

_CHUNK: Final = 8_192  # rows in double precision at once

_Floats = npt.NDArray[np.float64]


def ridge_predictions(
    train_features: npt.NDArray[np.float32],
    train_targets: npt.NDArray[np.float64],
    test_features: npt.NDArray[np.float32],
    *,
    train_groups: Sequence[str],
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Fit a ridge regression on centred and scaled features and predict the test rows.

    Args:
        train_features: Features, (N, F).
        train_targets: Targets, (N,) or (N, C).
        test_features: Features, (M, F).
        train_groups: Group of every training row; no group is on both sides of an inner split.
        penalties: Multiples of N to choose from, by the mean squared error of the inner splits.
        seed: Chooses which groups meet in an inner fold, and the rows of too large a basis.

    Returns:
        Predictions, (M,) or (M, C).

    Raises:
        DataError: If the training rows are of fewer than two groups.
    """
    features = np.concatenate([train_features, test_features])
    predictions = ridge_block_predictions(
        [dense_block(features)],
        train_targets.reshape(len(train_targets), -1),
        train_groups=train_groups,
        penalties=penalties,
        seed=seed,
    )
    return predictions.reshape(len(test_features), *train_targets.shape[1:])


def ridge_block_predictions(
    blocks: Sequence[FeatureBlock],
    train_targets: npt.NDArray[np.float64],
    *,
    train_groups: Sequence[str],
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Fit a ridge regression on blocks of features; see `ridge_predictions`.

    Args:
        blocks: Blocks of features side by side, each of the N training rows and then the M test
            rows.
        train_targets: Targets, (N, C).
        train_groups: Group of every training row.
        penalties: Multiples of N to choose from.
        seed: Chooses which groups meet in an inner fold, and the rows of too large a basis.

    Returns:
        Predictions, (M, C).

    Raises:
        DataError: If the training rows are of fewer than two groups.
    """
    rows = len(train_targets)
    if len(set(train_groups)) < 2:
        raise DataError(
            "the training rows are all of one group, so no penalty can be chosen",
            where="ridge baseline",
            mend="check the group column and the split",
        )
    parts = [scaled_coordinates(block, np.arange(rows), seed=seed) for block in blocks]
    coordinates = np.concatenate(parts, axis=1)  # (N + M, R)
    train, test = coordinates[:rows], coordinates[rows:]
    # Of scaled targets, no column weighs more than another in the choice of the penalty.
    mean, sd = train_targets.mean(axis=0), train_targets.std(axis=0)
    targets = (train_targets - mean) / np.where(sd > 0, sd, 1.0)
    total = _Moments.of(train, targets)
    folds = np.array(
        assign_folds(train_groups, min(INNER_FOLDS, len(set(train_groups))), seed=seed)
    )
    squared_error = np.zeros(len(penalties))
    for fold in np.unique(folds):
        held_out = folds == fold
        inside = total.without(_Moments.of(train[held_out], targets[held_out]))
        for i, predicted in enumerate(inside.solve(penalties, train[held_out])):
            squared_error[i] += np.square(predicted - targets[held_out]).sum()
    best = penalties[int(np.argmin(squared_error))]
    (predictions,) = total.solve([best], test)
    unscaled: _Floats = predictions * sd + mean
    return unscaled


class _Moments:
    """Sums over rows that a ridge regression with intercept is made of."""

    def __init__(self, rows: int, x: _Floats, y: _Floats, xx: _Floats, xy: _Floats) -> None:
        self.rows = rows
        self.x = x  # (R,)
        self.y = y  # (C,)
        self.xx = xx  # (R, R)
        self.xy = xy  # (R, C)

    @classmethod
    def of(cls, features: npt.NDArray[np.float32], targets: _Floats) -> _Moments:
        """Sum over rows; the large product in single precision, as the features are."""
        return cls(
            len(features),
            features.sum(axis=0, dtype=np.float64),
            targets.sum(axis=0),
            (features.T @ features).astype(np.float64),
            (features.T @ targets.astype(np.float32)).astype(np.float64),
        )

    def without(self, part: _Moments) -> _Moments:
        """The sums over the other rows."""
        return _Moments(
            self.rows - part.rows,
            self.x - part.x,
            self.y - part.y,
            self.xx - part.xx,
            self.xy - part.xy,
        )

    def solve(self, penalties: Sequence[float], features: npt.NDArray[np.float32]) -> list[_Floats]:
        """Predictions for ``features`` with each penalty, P of (M, C)."""
        mean_x, mean_y = self.x / self.rows, self.y / self.rows
        covariance = self.xx / self.rows - np.outer(mean_x, mean_x)
        shared = self.xy / self.rows - np.outer(mean_x, mean_y)  # (R, C)
        values, vectors = np.linalg.eigh(covariance)
        rotated = vectors.T @ shared
        values = np.maximum(values, 0.0)  # rounding leaves small negative ones
        predictions = [np.empty((len(features), len(mean_y))) for _ in penalties]
        for start in range(0, len(features), _CHUNK):
            part = slice(start, start + _CHUNK)
            projected = (features[part] - mean_x) @ vectors
            for penalty, predicted in zip(penalties, predictions, strict=True):
                predicted[part] = projected @ (rotated / (values + penalty)[:, None]) + mean_y
        return predictions
