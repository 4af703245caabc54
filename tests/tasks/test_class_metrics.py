from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef as sklearn_mcc
from sklearn.metrics import roc_auc_score

from biote.tasks.class_metrics import (
    MatthewsCorrCoef,
    PresentClassesAUROC,
    present_classes_auroc,
)

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(ROWS)
def test_mcc_is_scikit_learns_in_every_case(rows: list[tuple[int, int]]) -> None:
    targets, chosen = (torch.tensor(column) for column in zip(*rows, strict=True))
    metric = MatthewsCorrCoef(4)
    metric.update(chosen, targets)
    assert float(metric.compute()) == pytest.approx(sklearn_mcc(targets, chosen), abs=1e-6)


def test_mcc_of_a_constant_is_0_for_two_classes() -> None:
    metric = MatthewsCorrCoef(2)
    metric.update(torch.zeros(5).long(), torch.tensor([0, 1, 1, 0, 1]))
    assert float(metric.compute()) == 0


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 10_000))
def test_auroc_is_the_mean_over_classes_that_occur(labels: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(6), len(labels)).round(1)  # ties, and a class that never occurs
    targets = np.array(labels)
    metric = PresentClassesAUROC()
    for part in np.array_split(np.arange(len(labels)), 3):  # ragged, and sometimes empty
        metric.update(torch.from_numpy(scores[part]), torch.from_numpy(targets[part]))
    expected: list[Any] = [
        roc_auc_score(targets == c, scores[:, c]) for c in set(labels) if len(set(labels)) > 1
    ]
    found = float(metric.compute())
    if not expected:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.mean(expected), abs=1e-5)


def test_auroc_is_not_that_of_the_most_probable_class() -> None:
    # REFERENCE 6, 5: every row is given class 0, and the ranks are still perfect.
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert float(present_classes_auroc(probabilities, torch.tensor([0, 0, 1, 1]))) == 1
