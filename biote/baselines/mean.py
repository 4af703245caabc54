"""Predictions that look at no input: the mean, or the shares of the classes.

Legend: N training rows, M test rows, C targets or classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from biote.errors import DataError


def mean_predictions(train_targets: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.float64]:
    """Predict the mean of the training targets everywhere.

    Args:
        train_targets: Targets, (N, C).
        rows: Number of test rows, M.

    Returns:
        Predictions, (M, C).

    Raises:
        DataError: If there are no training rows.
    """
    _refuse_empty(len(train_targets))
    return np.tile(train_targets.mean(axis=0), (rows, 1))


def majority_class_scores(
    train_classes: npt.NDArray[np.int64], rows: int, *, n_classes: int
) -> npt.NDArray[np.float64]:
    """Score every class by its share of the training rows, so that the most frequent one wins.

    Args:
        train_classes: Class indices, (N,).
        rows: Number of test rows, M.
        n_classes: Number of classes, C.

    Returns:
        Scores, (M, C).

    Raises:
        DataError: If there are no training rows.
    """
    _refuse_empty(len(train_classes))
    shares = np.bincount(train_classes, minlength=n_classes) / len(train_classes)
    return np.tile(shares, (rows, 1))


def _refuse_empty(rows: int) -> None:
    if not rows:
        raise DataError("no training rows", where="trivial baselines", mend="check the split")
