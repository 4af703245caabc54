from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.sampler import SLOTS, MixtureTable, deal, key, permute
from biote.errors import ConfigError


@given(size=st.integers(1, 5_000), seed=st.integers(0, 2**64 - 1))
def test_a_pass_uses_every_window_once(size: int, seed: int) -> None:
    windows = permute(np.arange(size), size, np.uint64(seed))
    assert sorted(windows.tolist()) == list(range(size))


def test_any_place_of_a_large_pass_is_reached_without_the_others() -> None:
    size = 10**12
    places = np.array([0, 1, size - 1, size // 3])
    windows = permute(places, size, key(0, 1, 2))
    assert ((windows >= 0) & (windows < size)).all()
    assert len(set(windows.tolist())) == len(places)
    np.testing.assert_array_equal(windows[2:3], permute(places[2:3], size, key(0, 1, 2)))


def test_passes_and_seeds_have_their_own_order() -> None:
    orders = {
        tuple(permute(np.arange(50), 50, key(seed, 0, number)).tolist())
        for seed in range(3)
        for number in range(3)
    }
    assert len(orders) == 9


def test_a_pass_is_well_mixed() -> None:
    size = 10_000
    windows = permute(np.arange(size), size, key(3))
    # Neighbours in the pass are no neighbours in the corpus, and halves are spread evenly.
    assert np.abs(np.diff(windows)).mean() == pytest.approx(size / 3, rel=0.05)
    assert (windows[: size // 2] < size // 2).mean() == pytest.approx(0.5, abs=0.02)


@given(
    weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=5),
    start=st.integers(0, 10**12),
)
def test_shares_are_exact_over_any_ten_thousand(weights: list[float], start: int) -> None:
    table = MixtureTable(weights)
    corpora = table.corpora(start + np.arange(SLOTS))
    counts = np.bincount(corpora, minlength=len(weights))
    wanted = np.array(weights) / sum(weights) * SLOTS
    assert np.abs(counts - wanted).max() < 1
    ends = table.counts_before(np.array([start, start + SLOTS]))
    np.testing.assert_array_equal(ends[1] - ends[0], counts)


def test_counts_before_a_place_agree_with_the_places() -> None:
    table = MixtureTable([0.8, 0.2])
    corpora = table.corpora(np.arange(25_000))
    counted = np.stack([np.cumsum(corpora == corpus) for corpus in range(2)], axis=1)
    np.testing.assert_array_equal(table.counts_before(np.arange(1, 25_001)), counted)
    # Evenly spread: no run of the large corpus is longer than its share needs.
    assert (np.convolve(corpora == 1, np.ones(6), "valid") >= 1).all()


@pytest.mark.parametrize("weights", [[], [1.0, 0.0], [1.0, -1.0], [1.0, 1e-9]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.corpora"):
        MixtureTable(weights)


@given(
    lengths=st.lists(st.integers(1, 100), max_size=60),
    parts=st.integers(1, 8),
)
def test_dealing_loses_and_repeats_no_window(lengths: list[int], parts: int) -> None:
    ends = deal(np.array(lengths, np.int64), parts)
    assert len(ends) == parts + 1
    assert ends[0] == 0
    assert ends[-1] == len(lengths)
    assert (np.diff(ends) >= 0).all()
    if lengths:
        tokens = [sum(lengths[a:b]) for a, b in itertools.pairwise(ends)]
        assert max(tokens) <= sum(lengths) / parts + max(lengths)
