from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score

from biote.tasks.contact_metrics import CONTACT_METRICS, ContactMetric, expected_hits


def slow_precision(
    pairs: list[tuple[float, int, int]], length: int, divisor: int, low: int, high: float
) -> float | None:
    """Precision of the best pairs, by sorting; scores must differ."""
    inside = [(score, hit) for score, hit, apart in pairs if low <= apart <= high]
    if not inside:
        return None
    best = sorted(inside, reverse=True)[: max(1, length // divisor)]
    return sum(hit for _, hit in best) / len(best)


def make_protein(
    length: int, seed: int, *, levels: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, contacts and separations of all pairs 6 or more apart, some of them unlabelled."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(length, 6)
    labelled = rng.uniform(size=len(first)) < 0.9
    separation = (second - first)[labelled]
    scores = rng.permutation(len(separation)) / max(1, len(separation))
    if levels is not None:
        scores = np.floor(scores * levels) / levels
    contacts = rng.uniform(size=len(separation)) < 0.05 + 0.5 * scores**4
    return torch.from_numpy(scores), torch.from_numpy(contacts), torch.from_numpy(separation)


def test_every_metric_is_that_of_a_slow_computation_and_of_scikit_learn() -> None:
    metric = ContactMetric()
    lengths = [15, 30, 41, 7, 80]  # no long pair, few pairs, none at all
    expected: dict[str, list[float]] = {}
    everything: list[tuple[float, int]] = []
    for seed, length in enumerate(lengths):
        scores, contacts, separation = make_protein(length, seed)
        metric.update(scores, contacts, separation, length)
        pairs = list(
            zip(scores.tolist(), contacts.int().tolist(), separation.tolist(), strict=True)
        )
        everything += [(score, hit) for score, hit, _ in pairs]
        for name, low, high in (
            ("medium", 12, 23),
            ("long", 24, math.inf),
            ("medium_long", 12, math.inf),
        ):
            for prefix, divisor in (("p_at_l", 1), ("p_at_l2", 2), ("p_at_l5", 5)):
                value = slow_precision(pairs, length, divisor, low, high)
                if value is not None:
                    expected.setdefault(f"{prefix}_{name}", []).append(value)
        if contacts.any():
            expected.setdefault("auprc", []).append(
                average_precision_score(contacts.numpy(), scores.numpy())
            )
    found = {name: float(value) for name, value in metric.compute().items()}
    assert set(found) == set(CONTACT_METRICS) == {*expected, "precision"}
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.mean(values), abs=1e-6), name
    decided = precision_score(
        [hit for _, hit in everything], [score > 0.5 for score, _ in everything]
    )
    assert found["precision"] == pytest.approx(decided)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), n=st.integers(1, 6))
def test_equal_scores_count_as_in_any_order(data: st.DataObject, n: int) -> None:
    scores = data.draw(st.lists(st.sampled_from([0.1, 0.4, 0.9]), min_size=n, max_size=n))
    contacts = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    k = data.draw(st.integers(1, n))
    counted = [
        sum(contacts[i] for i in order[:k])
        for order in itertools.permutations(range(n))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    found = expected_hits(torch.tensor(scores), torch.tensor(contacts).double(), k)
    assert float(found) == pytest.approx(np.mean(counted))


def test_the_order_of_pairs_changes_nothing() -> None:
    scores, contacts, separation = make_protein(40, 3, levels=5)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    one, other = ContactMetric(), ContactMetric()
    one.update(scores, contacts, separation, 40)
    other.update(scores[order], contacts[order], separation[order], 40)
    for name, value in one.compute().items():
        assert float(value) == pytest.approx(float(other.compute()[name])), name


def test_nothing_to_count_is_no_number() -> None:
    metric = ContactMetric()
    empty = torch.zeros(0)
    metric.update(empty, empty.bool(), empty.long(), 5)
    assert all(math.isnan(float(value)) for value in metric.compute().values())
