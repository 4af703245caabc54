"""Bounds of scores: no predictions that are constant within tokens pass them, some reach them."""

from __future__ import annotations

import math
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from biote.residue_batch import ResidueKind
from biote.tasks.residue_bounds import BOUNDS
from biote.tasks.residue_metrics import METRICS

SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=4)
SEEDS = st.integers(0, 2**32 - 1)
SLACK = 1e-5


def residues(kind: ResidueKind, sizes: list[int], seed: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Labels of residues, (R, 1), and the token of each."""
    rng = np.random.default_rng(seed)
    tokens = np.repeat(np.arange(len(sizes)), sizes)
    highest = {"classes": 3, "binary": 2, "values": 5}[kind]
    return rng.integers(highest, size=(len(tokens), 1)).astype(np.float32), tokens


def bounds_of(kind: ResidueKind, labels: Any, tokens: Any, *, parts: int = 1) -> dict[str, float]:
    bounds = BOUNDS[kind](3 if kind == "classes" else 1)
    for of in np.array_split(np.unique(tokens), parts):
        chosen = np.isin(tokens, of)
        bounds.update(torch.from_numpy(labels[chosen]), torch.from_numpy(tokens[chosen]))
    return bounds.compute(["H", "E", "C"] if kind == "classes" else ["yes"])


@pytest.mark.parametrize("kind", BOUNDS)
@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_no_constant_within_tokens_is_better(
    kind: ResidueKind, sizes: list[int], seed: int
) -> None:
    labels, tokens = residues(kind, sizes, seed)
    bounds = bounds_of(kind, labels, tokens)
    assert bounds == pytest.approx(bounds_of(kind, labels, tokens, parts=3), nan_ok=True)
    rng = np.random.default_rng(seed + 1)
    outputs = 3 if kind == "classes" else 1
    shares = np.array([labels[tokens == t].mean() for t in range(len(sizes))])[:, None]
    modes = np.array([np.bincount(labels[tokens == t, 0].astype(int)).argmax()
                      for t in range(len(sizes))])  # fmt: skip
    good = np.eye(3)[modes] if kind == "classes" else shares
    for noise in (0.0, 0.3, 3.0):
        predictions = good + noise * rng.normal(size=(len(sizes), outputs))
        metrics = METRICS[kind](outputs)
        metrics.update(torch.from_numpy(predictions[tokens]), torch.from_numpy(labels))
        scores = metrics.compute(["H", "E", "C"] if kind == "classes" else ["yes"])
        for name, bound in bounds.items():
            if name.startswith("best_"):
                assert scores[name.removeprefix("best_")] >= bound - SLACK, name
            elif not math.isnan(score := scores[name.removeprefix("upper_bound_")]):
                assert score <= bound + SLACK, name


@settings(max_examples=12, deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_answers_for_tokens_reach_the_bounds(sizes: list[int], seed: int) -> None:
    labels, tokens = residues("binary", sizes, seed)
    truth = labels[:, 0].astype(int)
    bounds = bounds_of("binary", labels, tokens)
    answers = [np.array(chosen)[tokens] for chosen in product((0, 1), repeat=len(sizes))]
    for name, score in (
        ("f1", lambda chosen: sk.f1_score(truth, chosen, zero_division=0)),
        ("mcc", lambda chosen: sk.matthews_corrcoef(truth, chosen)),
        ("accuracy", lambda chosen: sk.accuracy_score(truth, chosen)),
    ):
        assert bounds[f"upper_bound_{name}"] == pytest.approx(max(map(score, answers)), abs=SLACK)
    if 0 < truth.mean() < 1:
        orders = [np.array(ranks)[tokens] for ranks in permutations(range(len(sizes)))]
        shares = np.array([truth[tokens == t].mean() for t in range(len(sizes))])[tokens]
        areas = [sk.roc_auc_score(truth, scores) for scores in orders]
        assert bounds["upper_bound_auroc"] == pytest.approx(sk.roc_auc_score(truth, shares))
        assert bounds["upper_bound_auroc"] >= max(areas) - SLACK
        precise = max(sk.average_precision_score(truth, scores) for scores in orders)
        assert precise - SLACK <= bounds["upper_bound_auprc"] <= 1


def test_bounds_are_not_the_scores_of_targets() -> None:
    # One positive among three: calling the whole token negative is most accurate, and has no F1.
    labels = np.array([1, 0, 0, 1, 1, 0, 0, 0], np.float32)[:, None]
    tokens = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    bounds = bounds_of("binary", labels, tokens)
    assert bounds["upper_bound_f1"] == pytest.approx(0.8)
    labels = np.array([2, 2, 1, 0, 0, 1], np.float32)[:, None]
    found = bounds_of("classes", labels, np.array([0, 0, 0, 1, 1, 2]))
    assert found == {"upper_bound_accuracy": pytest.approx(5 / 6)}
    values = np.array([0, 0, 9, 4], np.float32)[:, None]
    found = bounds_of("values", values, np.array([0, 0, 0, 1]))
    assert found["best_mae"] == pytest.approx(9 / 4)  # means would err by 12 / 4


@pytest.mark.parametrize("kind", BOUNDS)
def test_a_token_for_every_residue_loses_nothing(kind: ResidueKind) -> None:
    labels, _ = residues(kind, [40], 1)
    for name, bound in bounds_of(kind, labels, np.arange(40)).items():
        assert bound == pytest.approx(0 if name == "best_mae" else 1), name
