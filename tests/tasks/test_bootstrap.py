"""Resampling whole units."""

from __future__ import annotations

import numpy as np
import pytest

from biote.tasks.bootstrap import draws, interval


def test_every_replicate_draws_as_many_units_as_there_are() -> None:
    drawn = draws(7, replicates=200, seed=0)
    assert drawn.shape == (200, 7)
    assert (drawn.sum(1) == 7).all()
    assert drawn.mean() == pytest.approx(1)
    assert drawn.var() == pytest.approx(6 / 7, rel=0.15)  # of a multinomial: 1 - 1 / U
    np.testing.assert_array_equal(drawn, draws(7, replicates=200, seed=0))
    assert (drawn != draws(7, replicates=200, seed=1)).any()


def test_interval_holds_what_a_normal_distribution_says() -> None:
    values = np.random.default_rng(0).normal(2.0, 0.5, 100_000)
    low, high = interval(values)
    assert low == pytest.approx(2.0 - 1.96 * 0.5, abs=0.02)
    assert high == pytest.approx(2.0 + 1.96 * 0.5, abs=0.02)


def test_replicates_without_a_value_are_left_out() -> None:
    assert interval(np.array([np.nan, 3.0, 3.0])) == (3.0, 3.0)
    assert np.isnan(interval(np.array([np.nan]))).all()
