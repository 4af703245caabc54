from __future__ import annotations

import numpy as np
import pytest

from biote.baselines.mean import majority_class_scores, mean_predictions
from biote.errors import DataError


def test_the_mean_is_that_of_the_training_rows() -> None:
    predictions = mean_predictions(np.array([[1.0, 10.0], [2.0, 20.0]]), 3)
    assert predictions.tolist() == [[1.5, 15.0]] * 3


def test_the_most_frequent_class_wins() -> None:
    scores = majority_class_scores(np.array([2, 0, 2, 2]), 2, n_classes=4)
    assert scores.tolist() == [[0.25, 0.0, 0.75, 0.0]] * 2


def test_no_training_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no training rows"):
        mean_predictions(np.zeros((0, 1)), 3)
    with pytest.raises(DataError, match="no training rows"):
        majority_class_scores(np.zeros(0, np.int64), 3, n_classes=2)
